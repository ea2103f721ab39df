// A call of a Celery task, as workers read it: message protocol 2 of Celery 4 and 5
// (https://docs.celeryq.dev/en/stable/internals/protocol.html), checked against Celery 5.2.6 and
// kombu 5.2.4. Pure functions: any thread may call them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/model/task.h"

namespace parley::celery {

struct CeleryMessage {
  std::string id;                              // a UUID
  std::string task;                            // the name that it is registered with
  std::string args = "[]";                     // JSON
  std::string kwargs = "{}";                   // JSON
  std::map<std::string, std::string> headers;  // beside Celery's own
  std::int32_t retries = 0;
  std::optional<absl::Time> expires;  // a worker that gets it later does not run it
  std::string queue;                  // of the broker
  std::int32_t priority = 0;          // as the broker counts: see below
};

// How a task of ours is called: its name is Celery's, its payload is nothing or
// {"args": [...], "kwargs": {...}}, of which either may be left out. `queue` is the broker's; the
// priority is left at 0. INVALID_ARGUMENT: the payload is something else, or the name of a header
// has more than 255 bytes, which AMQP cannot carry.
absl::StatusOr<CeleryMessage> MessageOf(const Task& task, absl::string_view queue);

// What all attempts of a task are known by to Celery, a UUID. Made of the id and the time of its
// creation, so that two databases that share a broker do not meet.
std::string CeleryId(std::int64_t task_id, absl::Time create_time);

// Priorities: RabbitMQ serves greater numbers first, as we do, in queues declared with
// x-max-priority. On Redis there are lists for the steps 0, 3, 6 and 9, and the smaller is served
// first; `priority` 0..9 is ours.
std::int32_t RedisPriority(std::int32_t priority);
// The list on Redis for a queue and a priority of Redis'.
std::string RedisList(absl::string_view queue, std::int32_t redis_priority);

// What goes over the wire, with or without base64 around it.
std::string MessageBody(const CeleryMessage& message);
// A header's value: nothing, a number, a text, two times nothing (Celery's timelimit: hard, soft),
// a mapping with nothing in it.
struct TwoNulls {};
struct NoEntries {};
using HeaderValue =
    std::variant<std::monostate, bool, std::int64_t, std::string, TwoNulls, NoEntries>;
// Those of Celery, then the message's own. Own headers whose names Celery uses itself, for headers
// or for attributes of a task's request, are left out.
std::vector<std::pair<std::string, HeaderValue>> MessageHeaders(const CeleryMessage& message);

// What a worker pops off a list on Redis. `delivery_tag` is a UUID, fresh for every push.
std::string RedisEnvelope(const CeleryMessage& message, absl::string_view delivery_tag);

// What is broadcast to ask workers not to begin a task; as body, and around it for Redis.
std::string RevokeBody(absl::string_view id);
std::string RedisRevokeEnvelope(absl::string_view id, absl::string_view delivery_tag);

}  // namespace parley::celery
