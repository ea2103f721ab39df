// A channel to RabbitMQ, through librabbitmq.
#pragma once

#include <amqp.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/celery/broker_url.h"

namespace parley::celery {

// One connection with one channel. Once a call has failed, it is of no use any more, unless that
// was because RabbitMQ is low on memory or disk: then it reads nothing that publishers send, and
// says on the same connection when it goes on. Belongs to one thread at a time; calls block for
// some seconds at most. All return UNAVAILABLE, with a text that names neither addresses nor
// secrets.
class RabbitChannel {
 public:
  static absl::StatusOr<std::unique_ptr<RabbitChannel>> Open(const BrokerUrl& url);
  ~RabbitChannel();

  RabbitChannel(const RabbitChannel&) = delete;
  RabbitChannel& operator=(const RabbitChannel&) = delete;

  // Whether RabbitMQ has not hung up, as far as can be told without asking it.
  bool LooksAlive();

  // Whether RabbitMQ takes messages, as far as it has said up to the last call. UNAVAILABLE: not
  // for now, and why.
  absl::Status Ready() const;

  // From now on RabbitMQ confirms what is published, counting from 1.
  absl::Status SelectConfirms();
  // Asks RabbitMQ whether it takes messages, after SelectConfirms. It tells a connection only when
  // something is published there: so an empty message is, which goes to no queue. Ready() says
  // whether that is why it fails.
  absl::Status Probe();
  // Passively: nothing is created, and how they were declared does not matter.
  absl::Status FindQueue(const std::string& queue);
  absl::Status FindExchange(const std::string& exchange);

  // Sends it. It is not there before it is confirmed. Fails if RabbitMQ has read nothing for some
  // seconds and there is no more room on the way.
  absl::Status Publish(const std::string& exchange, const std::string& routing_key,
                       const amqp_basic_properties_t& properties, const std::string& body);

  // The number of the last message that was published.
  std::uint64_t published() const { return published_; }

  // What RabbitMQ says of what was published.
  struct Verdict {
    enum class Kind {
      kConfirmed,  // it has the message; of a returned one: it is done with it
      kRefused,    // it has not taken the message
      kReturned,   // no queue took the message; a kConfirmed will follow
      kBlocked,    // it reads no more for now: Ready() says why
    };
    Kind kind = Kind::kConfirmed;
    std::uint64_t number = 0;    // of the message; of kConfirmed and kRefused
    bool all_before = false;     // and of all before it that nothing was said of
    std::string correlation_id;  // of kReturned
  };
  // Waits for the next one.
  absl::StatusOr<Verdict> Next(absl::Time deadline);

 private:
  explicit RabbitChannel(amqp_connection_state_t connection) : connection_(connection) {}

  absl::Status Connect(const BrokerUrl& url);
  amqp_rpc_reply_t LogIn(const BrokerUrl& url);
  // Notes it if RabbitMQ says that it reads no more or goes on; false: it says something else.
  bool NoteReadiness(const amqp_frame_t& frame);
  absl::StatusOr<Verdict> ReadReturned();
  // Of the last call that waited for an answer.
  absl::Status StatusOfReply() const;

  const amqp_connection_state_t connection_;
  std::uint64_t published_ = 0;
  std::optional<std::string> blocked_;  // why it takes no messages
};

}  // namespace parley::celery
