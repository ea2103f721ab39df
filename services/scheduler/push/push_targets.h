// The targets that this server may push to: the allow-list of its configuration.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "db/model/queue_target.h"
#include "services/celery/broker_url.h"

namespace parley::scheduler {

// A gRPC service of somebody's, which implements parley.scheduler.v1.TaskHandler.
struct GrpcEndpoint {
  std::string address;  // host:port
};

// A broker of Celery's, and where its workers' results are, if they are read.
struct CeleryEndpoint {
  celery::BrokerUrl broker;
  std::optional<celery::BrokerUrl> results;
};

using PushTargets = std::map<std::string, std::variant<GrpcEndpoint, CeleryEndpoint>, std::less<>>;

// The value of --targets: a list of name=url, with white space between them.
//   grpc://host:port                        a TaskHandler
//   redis://...                             Celery; results are on the same Redis...
//   redis://...;results=redis://...         ... or elsewhere
//   amqp://...                              Celery on RabbitMQ, without results
//   amqp://...;results=redis://...          and with them
// broker_url.h says what URLs of brokers look like. INVALID_ARGUMENT names the target and what is
// wrong with it, but no part of its URL, which may hold a password.
absl::StatusOr<PushTargets> ParsePushTargets(absl::string_view text);

// Whether a queue may be pushed to `target` by a server that knows `targets`. INVALID_ARGUMENT: why
// not: no such name, another kind of delivery, results to be tracked that cannot be read.
absl::Status CheckDeliverable(const PushTargets& targets, const QueueTarget& target);

}  // namespace parley::scheduler
