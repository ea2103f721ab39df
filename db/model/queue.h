// Queues: their settings, and how much there is in them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "db/model/queue_target.h"
#include "db/model/task.h"

namespace parley {

// A token bucket. A claim takes a token a task.
struct RateLimit {
  double rate = 0;         // tokens per second
  std::int32_t burst = 0;  // how many there are at most

  bool operator==(const RateLimit&) const = default;
};

struct QueueSettings {
  std::int32_t max_attempts = 0;  // of tasks that are created without; 0: the default
  RetryPolicy retry;
  std::int32_t max_running = 0;          // 0: no limit
  std::int32_t max_running_per_key = 0;  // of tasks with the same concurrency_key; 0: no limit
  std::optional<RateLimit> rate_limit;
  std::optional<QueueTarget> target;  // absent: workers come for the tasks

  bool operator==(const QueueSettings&) const = default;
};

// A queue needs no row: one that has none has the defaults, which is version 0.
struct Queue {
  std::string name;
  QueueSettings settings;
  std::optional<absl::Time> pause_time;  // absent: it is not paused
  std::string pause_note;
  std::int64_t version = 0;
  std::optional<absl::Time> create_time;  // absent: it has no row
  std::optional<absl::Time> update_time;
};

// What an update is to change; absent means as it is.
struct QueueChange {
  std::optional<std::int32_t> max_attempts;
  std::optional<RetryPolicy> retry;
  std::optional<std::int32_t> max_running;
  std::optional<std::int32_t> max_running_per_key;
  std::optional<std::optional<RateLimit>> rate_limit;
  std::optional<std::optional<QueueTarget>> target;
};

struct QueueStats {
  // Tasks there are.
  std::int64_t pending = 0;
  std::int64_t running = 0;
  std::int64_t dead = 0;
  // Tasks there have ever been, or what became of them.
  std::int64_t created = 0;
  std::int64_t succeeded = 0;
  std::int64_t cancelled = 0;
  std::int64_t expired = 0;
  std::int64_t died = 0;
  std::int64_t retried = 0;  // attempts that failed and were not the last
  std::optional<absl::Time> oldest_due_time;
  std::optional<absl::Time> next_due_time;  // of a task that is not due yet
  std::optional<absl::Time> pause_time;
};

}  // namespace parley
