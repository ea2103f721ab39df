#include "services/runtime/admin.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace parley::runtime {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using tcp = boost::asio::ip::tcp;

constexpr std::chrono::seconds kPatience{10};
constexpr int kMaxConnections = 64;
constexpr std::uint32_t kMaxHeaderBytes = 8192;

using HttpRequest = http::request<http::empty_body>;
using HttpResponse = http::response<http::string_body>;

HttpResponse AnswerHttp(const HttpRequest& request, const AdminServer::Options& options) {
  HttpResponse response(http::status::ok, request.version());
  response.set(http::field::content_type, "text/plain; charset=utf-8");
  response.keep_alive(false);
  const absl::string_view path(request.target().data(), request.target().size());
  if (request.method() != http::verb::get && request.method() != http::verb::head) {
    response.result(http::status::method_not_allowed);
    response.set(http::field::allow, "GET, HEAD");
    response.body() = "GET or HEAD\n";
  } else if (path == "/metrics") {
    response.set(http::field::content_type, "text/plain; version=0.0.4; charset=utf-8");
    response.body() = options.metrics();
  } else if (path == "/healthz") {
    response.body() = "alive\n";
  } else if (path == "/readyz") {
    const bool ready = options.is_ready();
    if (!ready) response.result(http::status::service_unavailable);
    response.body() = ready ? "ready\n" : "not ready\n";
  } else {
    response.result(http::status::not_found);
    response.body() = "/metrics, /healthz or /readyz\n";
  }
  response.prepare_payload();
  if (request.method() == http::verb::head) response.body().clear();
  return response;
}

// One request and its answer. Lives for as long as an operation of it is under way; the operations
// are cut off when the stream's time is over.
class AdminConnection : public std::enable_shared_from_this<AdminConnection> {
 public:
  AdminConnection(tcp::socket socket, const AdminServer::Options& options, int& connections)
      : stream_(std::move(socket)), options_(options), connections_(connections) {
    ++connections_;
    parser_.header_limit(kMaxHeaderBytes);
    parser_.body_limit(0);
  }
  ~AdminConnection() { --connections_; }

  void Start() {
    stream_.expires_after(kPatience);  // once, for all that follows
    http::async_read(stream_, buffer_, parser_,
                     [self = shared_from_this()](beast::error_code error, std::size_t) {
                       if (!error) self->Write();
                     });
  }

 private:
  void Write() {
    response_ = AnswerHttp(parser_.get(), options_);
    http::async_write(stream_, *response_,
                      [self = shared_from_this()](beast::error_code /*error*/, std::size_t) {
                        beast::error_code ignored;
                        self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
                      });
  }

  beast::tcp_stream stream_;
  const AdminServer::Options& options_;
  int& connections_;
  beast::flat_buffer buffer_{kMaxHeaderBytes};
  http::request_parser<http::empty_body> parser_;
  std::optional<HttpResponse> response_;
};

}  // namespace

// The socket and its thread. All of it but the constructor, Open and the destructor is on the
// thread.
class AdminServer::Listener {
 public:
  explicit Listener(Options options) : options_(std::move(options)), acceptor_(io_), retry_(io_) {}

  ~Listener() {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Open() {
    const std::size_t colon = options_.listen.rfind(':');
    std::string host = options_.listen.substr(0, colon);
    if (host.size() > 1 && host.front() == '[' && host.back() == ']') {
      host = host.substr(1, host.size() - 2);
    }
    beast::error_code error;
    tcp::resolver resolver(io_);
    const auto found =
        resolver.resolve(host, options_.listen.substr(colon + 1), tcp::resolver::passive, error);
    if (error) return absl::InvalidArgumentError(error.message());
    const tcp::endpoint endpoint = found.begin()->endpoint();
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(kMaxConnections, error);
    if (error) return absl::UnavailableError(error.message());
    address_ =
        absl::StrCat(options_.listen.substr(0, colon), ":", acceptor_.local_endpoint(error).port());
    Accept();
    thread_ = std::thread([this] { io_.run(); });
    return absl::OkStatus();
  }

  const std::string& address() const { return address_; }

 private:
  void Accept() {
    acceptor_.async_accept([this](beast::error_code error, tcp::socket socket) {
      if (error) return AcceptLater();
      // One too many is hung up on.
      if (connections_ < kMaxConnections) {
        std::make_shared<AdminConnection>(std::move(socket), options_, connections_)->Start();
      }
      Accept();
    });
  }

  // Without descriptors the next accept would fail at once, and the next.
  void AcceptLater() {
    retry_.expires_after(std::chrono::milliseconds(100));
    retry_.async_wait([this](beast::error_code error) {
      if (!error) Accept();
    });
  }

  const Options options_;
  int connections_ = 0;
  asio::io_context io_{1};  // its end is that of the connections, which use the above
  tcp::acceptor acceptor_;
  asio::steady_timer retry_;
  std::string address_;  // constant after Open
  std::thread thread_;
};

AdminServer::AdminServer(std::unique_ptr<Listener> listener) : listener_(std::move(listener)) {}

AdminServer::~AdminServer() = default;

absl::StatusOr<std::unique_ptr<AdminServer>> AdminServer::Start(Options options) {
  auto listener = std::make_unique<Listener>(std::move(options));
  if (absl::Status opened = listener->Open(); !opened.ok()) return opened;
  return std::unique_ptr<AdminServer>(new AdminServer(std::move(listener)));
}

const std::string& AdminServer::address() const { return listener_->address(); }

}  // namespace parley::runtime
