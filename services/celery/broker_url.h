// Where a broker or a result backend of Celery is, as a URL says it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::celery {

struct BrokerUrl {
  enum class Kind { kRedis, kRabbitMq };
  Kind kind = Kind::kRedis;
  std::string host;
  std::int32_t port = 0;
  std::string user;           // empty: Redis' default user; guest at RabbitMQ
  std::string password;       // a secret
  std::int32_t database = 0;  // of Redis
  std::string vhost = "/";    // of RabbitMQ

  bool operator==(const BrokerUrl&) const = default;
};

// redis://[[user]:password@]host[:6379][/database] or amqp://[user:password@]host[:5672][/vhost];
// as with Celery, no vhost, "/" and "//" all mean the vhost "/". Parts are percent-encoded where
// they must be; an IPv6 address is in brackets. INVALID_ARGUMENT says what is wrong and repeats
// nothing of the text, in which there may be a password.
absl::StatusOr<BrokerUrl> ParseBrokerUrl(absl::string_view text);

}  // namespace parley::celery
