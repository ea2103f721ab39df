// Where the tasks of a queue are pushed to, as stored.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "absl/time/time.h"

namespace parley {

// To a gRPC service that implements parley.scheduler.v1.TaskHandler: a call is an attempt.
struct GrpcDelivery {
  absl::Duration timeout = absl::Seconds(30);  // of a call
  std::int32_t max_calls = 16;                 // at a time, by each server

  bool operator==(const GrpcDelivery&) const = default;
};

// To Celery's workers, by a broker of theirs.
struct CeleryDelivery {
  enum class Mode {
    kFireAndForget,  // SUCCEEDED once the broker has it
    kTrackResult,    // RUNNING until there is a result, which becomes the task's
  };
  std::string queue = "celery";  // the broker's
  Mode mode = Mode::kFireAndForget;
  absl::Duration result_timeout = absl::Hours(1);  // kTrackResult: then the attempt has failed
  // On Redis: whether tasks go to the lists of their priorities, instead of all to the first.
  bool redis_priorities = false;

  bool operator==(const CeleryDelivery&) const = default;
};

struct QueueTarget {
  std::string name;  // one of those that the servers are told of (--targets)
  std::variant<GrpcDelivery, CeleryDelivery> delivery;

  bool operator==(const QueueTarget&) const = default;
};

}  // namespace parley
