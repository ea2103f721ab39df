#include "services/celery/rabbit_channel.h"

#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"

namespace parley::celery {
namespace {

constexpr amqp_channel_t kChannel = 1;
constexpr int kFrameMax = 131072;
constexpr absl::Duration kPatienceToConnect = absl::Seconds(5);
constexpr absl::Duration kPatienceToProbe = absl::Seconds(5);
constexpr absl::Duration kPatienceToSend = absl::Seconds(10);

absl::Status Trouble(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat("RabbitMQ: ", what));
}

absl::Status TroubleOf(int library_error) { return Trouble(amqp_error_string2(library_error)); }

std::string TextOf(const amqp_bytes_t& bytes) {
  return {static_cast<const char*>(bytes.bytes), bytes.len};
}

// `text` must outlive what is made of it.
amqp_bytes_t BytesOf(const std::string& text) {
  return {text.size(), const_cast<char*>(text.data())};
}

// What a method that closes a channel or a connection says of the reason.
absl::Status Closed(const amqp_method_t& method) {
  if (method.id == AMQP_CHANNEL_CLOSE_METHOD) {
    return Trouble(TextOf(static_cast<amqp_channel_close_t*>(method.decoded)->reply_text));
  }
  if (method.id == AMQP_CONNECTION_CLOSE_METHOD) {
    return Trouble(TextOf(static_cast<amqp_connection_close_t*>(method.decoded)->reply_text));
  }
  return Trouble("an answer that nobody has asked for");
}

bool IsVerdict(const amqp_frame_t& frame) {
  return frame.frame_type == AMQP_FRAME_METHOD &&
         (frame.payload.method.id == AMQP_BASIC_ACK_METHOD ||
          frame.payload.method.id == AMQP_BASIC_NACK_METHOD);
}

// A server that vanishes without a word is noticed within a minute, also while nothing is sent; one
// that reads nothing, as soon as what is sent has waited too long (librabbitmq would wait for
// ever).
void KeepAlive(int socket) {
  const int on = 1, seconds = 20, probes = 3;
  const auto send_ms = static_cast<unsigned>(absl::ToInt64Milliseconds(kPatienceToSend));
  setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &send_ms, sizeof send_ms);
  setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RabbitChannel>> RabbitChannel::Open(const BrokerUrl& url) {
  const amqp_connection_state_t connection = amqp_new_connection();
  if (connection == nullptr) return Trouble("out of memory");
  auto channel = std::unique_ptr<RabbitChannel>(new RabbitChannel(connection));
  PARLEY_RETURN_IF_ERROR(channel->Connect(url));
  return channel;
}

RabbitChannel::~RabbitChannel() {
  // Without the farewells of the protocol, for which a server in trouble would keep us waiting.
  amqp_destroy_connection(connection_);
}

absl::Status RabbitChannel::Connect(const BrokerUrl& url) {
  amqp_socket_t* socket = amqp_tcp_socket_new(connection_);
  if (socket == nullptr) return Trouble("out of memory");
  timeval patience = absl::ToTimeval(kPatienceToConnect);
  if (amqp_socket_open_noblock(socket, url.host.c_str(), url.port, &patience) != AMQP_STATUS_OK) {
    return Trouble("it cannot be reached");
  }
  KeepAlive(amqp_get_sockfd(connection_));
  amqp_set_handshake_timeout(connection_, &patience);
  amqp_set_rpc_timeout(connection_, &patience);
  const amqp_rpc_reply_t reply = LogIn(url);
  if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION) return Closed(reply.reply);
  if (reply.reply_type != AMQP_RESPONSE_NORMAL) return TroubleOf(reply.library_error);
  amqp_channel_open(connection_, kChannel);
  return StatusOfReply();
}

amqp_rpc_reply_t RabbitChannel::LogIn(const BrokerUrl& url) {
  // To those who do not say that they understand it, RabbitMQ does not say that it reads no more.
  amqp_table_entry_t capability = {
      .key = amqp_cstring_bytes("connection.blocked"),
      .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value = {.boolean = 1}}};
  amqp_table_entry_t property = {
      .key = amqp_cstring_bytes("capabilities"),
      .value = {.kind = AMQP_FIELD_KIND_TABLE, .value = {.table = {1, &capability}}}};
  const amqp_table_t properties = {1, &property};
  // Heartbeats would need a thread that tends the connection.
  return amqp_login_with_properties(connection_, url.vhost.c_str(), AMQP_DEFAULT_MAX_CHANNELS,
                                    kFrameMax, /*heartbeat=*/0, &properties, AMQP_SASL_METHOD_PLAIN,
                                    url.user.c_str(), url.password.c_str());
}

absl::Status RabbitChannel::StatusOfReply() const {
  const amqp_rpc_reply_t reply = amqp_get_rpc_reply(connection_);
  switch (reply.reply_type) {
    case AMQP_RESPONSE_NORMAL:
      return absl::OkStatus();
    case AMQP_RESPONSE_SERVER_EXCEPTION:
      return Closed(reply.reply);
    default:
      return TroubleOf(reply.library_error);
  }
}

bool RabbitChannel::LooksAlive() {
  timeval no_time = {};
  while (true) {
    amqp_frame_t frame;
    const int status = amqp_simple_wait_frame_noblock(connection_, &frame, &no_time);
    if (status == AMQP_STATUS_TIMEOUT) return true;
    // While nothing is published it says whether it would read, and what it owed of a probe. All
    // else is a farewell.
    if (status != AMQP_STATUS_OK || !(NoteReadiness(frame) || IsVerdict(frame))) return false;
    amqp_maybe_release_buffers(connection_);
  }
}

bool RabbitChannel::NoteReadiness(const amqp_frame_t& frame) {
  if (frame.frame_type != AMQP_FRAME_METHOD) return false;
  const amqp_method_t& method = frame.payload.method;
  if (method.id == AMQP_CONNECTION_BLOCKED_METHOD) {
    blocked_ = TextOf(static_cast<amqp_connection_blocked_t*>(method.decoded)->reason);
    return true;
  }
  if (method.id != AMQP_CONNECTION_UNBLOCKED_METHOD) return false;
  blocked_.reset();
  return true;
}

absl::Status RabbitChannel::Ready() const {
  return blocked_.has_value() ? Trouble(absl::StrCat("it takes no messages: ", *blocked_))
                              : absl::OkStatus();
}

absl::Status RabbitChannel::Probe() {
  const amqp_basic_properties_t properties = {};
  const int status =
      amqp_basic_publish(connection_, kChannel, amqp_empty_bytes, amqp_empty_bytes,
                         /*mandatory=*/0, /*immediate=*/0, &properties, amqp_empty_bytes);
  if (status != AMQP_STATUS_OK) return TroubleOf(status);
  const std::uint64_t number = ++published_;
  const absl::Time deadline = SteadyNow() + kPatienceToProbe;
  while (true) {
    PARLEY_ASSIGN_OR_RETURN(const Verdict verdict, Next(deadline));
    if (verdict.kind == Verdict::Kind::kBlocked) return Ready();
    if (verdict.number >= number) return absl::OkStatus();
  }
}

absl::Status RabbitChannel::SelectConfirms() {
  amqp_confirm_select(connection_, kChannel);
  return StatusOfReply();
}

absl::Status RabbitChannel::FindQueue(const std::string& queue) {
  amqp_queue_declare(connection_, kChannel, BytesOf(queue), /*passive=*/1, /*durable=*/0,
                     /*exclusive=*/0, /*auto_delete=*/0, amqp_empty_table);
  return StatusOfReply();
}

absl::Status RabbitChannel::FindExchange(const std::string& exchange) {
  amqp_exchange_declare(connection_, kChannel, BytesOf(exchange), amqp_cstring_bytes("fanout"),
                        /*passive=*/1, /*durable=*/0, /*auto_delete=*/0, /*internal=*/0,
                        amqp_empty_table);
  return StatusOfReply();
}

absl::Status RabbitChannel::Publish(const std::string& exchange, const std::string& routing_key,
                                    const amqp_basic_properties_t& properties,
                                    const std::string& body) {
  const int status =
      amqp_basic_publish(connection_, kChannel, BytesOf(exchange), BytesOf(routing_key),
                         /*mandatory=*/1, /*immediate=*/0, &properties, BytesOf(body));
  if (status != AMQP_STATUS_OK) return TroubleOf(status);
  ++published_;
  return absl::OkStatus();
}

absl::StatusOr<RabbitChannel::Verdict> RabbitChannel::Next(absl::Time deadline) {
  while (true) {
    const absl::Duration left = deadline - SteadyNow();
    timeval wait = absl::ToTimeval(left > absl::ZeroDuration() ? left : absl::ZeroDuration());
    amqp_frame_t frame;
    const int status = amqp_simple_wait_frame_noblock(connection_, &frame, &wait);
    if (status == AMQP_STATUS_TIMEOUT && blocked_.has_value()) return Ready();
    if (status != AMQP_STATUS_OK) return TroubleOf(status);
    if (NoteReadiness(frame)) {
      amqp_maybe_release_buffers(connection_);
      if (blocked_.has_value()) return Verdict{.kind = Verdict::Kind::kBlocked};
      continue;
    }
    if (frame.frame_type != AMQP_FRAME_METHOD) continue;
    const amqp_method_t& method = frame.payload.method;
    Verdict verdict;
    switch (method.id) {
      case AMQP_BASIC_ACK_METHOD: {
        const auto* ack = static_cast<amqp_basic_ack_t*>(method.decoded);
        verdict = {Verdict::Kind::kConfirmed, ack->delivery_tag, ack->multiple != 0, ""};
        break;
      }
      case AMQP_BASIC_NACK_METHOD: {
        const auto* nack = static_cast<amqp_basic_nack_t*>(method.decoded);
        verdict = {Verdict::Kind::kRefused, nack->delivery_tag, nack->multiple != 0, ""};
        break;
      }
      case AMQP_BASIC_RETURN_METHOD: {
        PARLEY_ASSIGN_OR_RETURN(verdict, ReadReturned());
        break;
      }
      default:
        return Closed(method);
    }
    amqp_maybe_release_buffers(connection_);
    return verdict;
  }
}

absl::StatusOr<RabbitChannel::Verdict> RabbitChannel::ReadReturned() {
  amqp_message_t message;
  const amqp_rpc_reply_t reply = amqp_read_message(connection_, kChannel, &message, 0);
  if (reply.reply_type != AMQP_RESPONSE_NORMAL) return Trouble("a returned message is incomplete");
  Verdict verdict = {.kind = Verdict::Kind::kReturned,
                     .correlation_id = TextOf(message.properties.correlation_id)};
  amqp_destroy_message(&message);
  return verdict;
}

}  // namespace parley::celery
