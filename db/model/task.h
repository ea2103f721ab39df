// Tasks, as stored.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "base/local_time.h"

namespace parley {

// from      event                          to          guard
// PENDING   claim                          RUNNING     due; attempt + 1, fresh token, lease
// PENDING   cancel                         CANCELLED
// RUNNING   ack                            SUCCEEDED   token
// RUNNING   fail, attempts left            PENDING     token; run_time = now + backoff
// RUNNING   fail, none left                DEAD        token
// RUNNING   lease over, attempts left      PENDING     the attempt stays counted
// RUNNING   lease over, none left          DEAD
// RUNNING   release (the caller was gone)  PENDING     token; attempt - 1
enum class TaskState { kPending, kRunning, kSucceeded, kDead, kCancelled };

// Queues of the suite's own begin so. Their tasks are worked on inside the services; callers see
// them and may cancel them, but neither create nor lease them.
inline constexpr char kReservedQueuePrefix[] = "parley.";

struct Task {
  std::int64_t id = 0;
  std::string queue;
  std::string name;
  std::string payload;  // bytes
  std::map<std::string, std::string> headers;
  absl::Time run_time;
  std::int32_t priority = 0;  // 0..9, greater first
  TaskState state = TaskState::kPending;
  std::int32_t attempt = 0;
  std::int32_t max_attempts = 0;
  std::optional<absl::Time> lease_until;
  std::string last_error;
  absl::Time create_time;
  absl::Time update_time;
  // The local time that it was created with, so that it can be shown and resolved again.
  std::optional<LocalTime> local_time;
};

// A task as it is to be created. Due at run_time (absent: at its creation), and `delay` later
// still.
struct NewTask {
  std::string queue;
  std::string name;
  std::string payload;
  std::map<std::string, std::string> headers;
  std::optional<absl::Time> run_time;
  absl::Duration delay;
  std::int32_t priority = 0;
  std::int32_t max_attempts = 0;
  std::optional<LocalTime> local_time;
};

}  // namespace parley
