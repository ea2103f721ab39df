// The admin port, over real sockets.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "base/clock.h"
#include "services/runtime/admin.h"

namespace parley::runtime {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// A client that sends what the test says, as slowly as it says.
class Caller {
 public:
  explicit Caller(const AdminServer& server) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    int port = 0;
    EXPECT_TRUE(absl::SimpleAtoi(server.address().substr(server.address().rfind(':') + 1), &port));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    EXPECT_EQ(connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;
  ~Caller() { close(socket_); }

  void Send(const std::string& text) const {
    send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
  }

  // Everything until the server hangs up.
  std::string Read() const {
    std::string text;
    char buffer[4096];
    for (ssize_t got = 0; (got = recv(socket_, buffer, sizeof buffer, 0)) > 0;) {
      text.append(buffer, static_cast<std::size_t>(got));
    }
    return text;
  }

 private:
  const int socket_;
};

class AdminPort : public ::testing::Test {
 protected:
  std::unique_ptr<AdminServer> Start() {
    auto server = AdminServer::Start({.listen = "127.0.0.1:0",
                                      .metrics = [] { return std::string("parley_rooms 4\n"); },
                                      .is_ready = [this] { return ready_.load(); }});
    EXPECT_TRUE(server.ok()) << server.status();
    return *std::move(server);
  }

  static std::string Ask(const AdminServer& server, const std::string& request) {
    const Caller caller(server);
    caller.Send(request);
    return caller.Read();
  }
  static std::string Get(const AdminServer& server, const std::string& path) {
    return Ask(server, "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
  }

  std::atomic<bool> ready_{true};
};

TEST_F(AdminPort, ServesMetricsAndHealth) {
  const auto server = Start();
  const std::string metrics = Get(*server, "/metrics");
  EXPECT_THAT(metrics, StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(metrics, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(metrics, EndsWith("\r\n\r\nparley_rooms 4\n"));
  EXPECT_THAT(Get(*server, "/readyz"), StartsWith("HTTP/1.1 200 "));
  ready_ = false;
  EXPECT_THAT(Get(*server, "/readyz"), StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(Get(*server, "/healthz"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(AdminPort, RefusesWhatItDoesNotServe) {
  const auto server = Start();
  EXPECT_THAT(Get(*server, "/"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Ask(*server, "DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
              StartsWith("HTTP/1.1 405 "));
  const std::string head = Ask(*server, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(head, Not(HasSubstr("parley_rooms")));
  EXPECT_THAT(head, HasSubstr("Content-Length: 15\r\n"));
}

TEST_F(AdminPort, HangsUpOnWhatIsNoRequestOrTooMuchOfOne) {
  const auto server = Start();
  EXPECT_EQ(Ask(*server, "\x16\x03\x01 this is TLS\r\n\r\n"), "");
  EXPECT_EQ(Ask(*server, "GET /metrics HTTP/1.1\r\nX: " + std::string(20'000, 'x')), "");
  EXPECT_EQ(Ask(*server, "POST /metrics HTTP/1.1\r\nContent-Length: 100000\r\n\r\nbody"), "");
}

TEST_F(AdminPort, NeitherOthersNorItsEndWaitForSlowClients) {
  auto server = Start();
  std::vector<std::unique_ptr<Caller>> slow;
  for (int i = 0; i < 20; ++i) {
    slow.push_back(std::make_unique<Caller>(*server));
    slow.back()->Send("GET /metr");
  }
  EXPECT_THAT(Get(*server, "/healthz"), StartsWith("HTTP/1.1 200 "));
  server.reset();  // would take ten seconds, or hang
  for (const auto& caller : slow) EXPECT_EQ(caller->Read(), "");
}

TEST_F(AdminPort, ManyConnectionsAreHungUpOnAndTheNextAreServed) {
  const auto server = Start();
  {
    std::vector<std::unique_ptr<Caller>> idle;
    for (int i = 0; i < 64; ++i) idle.push_back(std::make_unique<Caller>(*server));
    EXPECT_EQ(Caller(*server).Read(), "");  // one too many
  }
  std::string answer;
  while (answer.empty()) answer = Get(*server, "/healthz");  // until it has seen them leave
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 "));
}

TEST_F(AdminPort, SaysWhatIsWrongWithItsAddress) {
  const auto server = Start();
  const auto options = [](const std::string& listen) {
    return AdminServer::Options{
        .listen = listen, .metrics = [] { return std::string(); }, .is_ready = [] { return true; }};
  };
  EXPECT_EQ(AdminServer::Start(options(server->address())).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(AdminServer::Start(options("no-such-host.invalid:0")).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace parley::runtime
