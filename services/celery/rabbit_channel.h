// A channel to RabbitMQ, through librabbitmq.
#pragma once

#include <amqp.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/celery/broker_url.h"

namespace parley::celery {

// One connection with one channel. Once a call has failed, it is of no use any more. Belongs to one
// thread at a time; calls block for some seconds at most. All return UNAVAILABLE, with a text that
// names neither addresses nor secrets.
class RabbitChannel {
 public:
  static absl::StatusOr<std::unique_ptr<RabbitChannel>> Open(const BrokerUrl& url);
  ~RabbitChannel();

  RabbitChannel(const RabbitChannel&) = delete;
  RabbitChannel& operator=(const RabbitChannel&) = delete;

  // Whether RabbitMQ has not hung up, as far as can be told without asking it.
  bool LooksAlive();

  // From now on RabbitMQ confirms what is published, counting from 1.
  absl::Status SelectConfirms();
  // Passively: nothing is created, and how they were declared does not matter.
  absl::Status FindQueue(const std::string& queue);
  absl::Status FindExchange(const std::string& exchange);

  // Sends it. It is not there before it is confirmed.
  absl::Status Publish(const std::string& exchange, const std::string& routing_key,
                       const amqp_basic_properties_t& properties, const std::string& body);

  // What RabbitMQ says of what was published.
  struct Verdict {
    enum class Kind {
      kConfirmed,  // it has the message; of a returned one: it is done with it
      kRefused,    // it has not taken the message
      kReturned,   // no queue took the message; a kConfirmed will follow
    };
    Kind kind = Kind::kConfirmed;
    std::uint64_t number = 0;    // of the message; not of kReturned
    bool all_before = false;     // and of all before it that nothing was said of
    std::string correlation_id;  // of kReturned
  };
  // Waits for the next one.
  absl::StatusOr<Verdict> Next(absl::Time deadline);

 private:
  explicit RabbitChannel(amqp_connection_state_t connection) : connection_(connection) {}

  absl::Status Connect(const BrokerUrl& url);
  absl::StatusOr<Verdict> ReadReturned();
  // Of the last call that waited for an answer.
  absl::Status StatusOfReply() const;

  const amqp_connection_state_t connection_;
};

}  // namespace parley::celery
