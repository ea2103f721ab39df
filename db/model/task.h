// Tasks, as stored.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/time/time.h"

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

// How a local time became an instant.
enum class LocalTimeResolution { kUnique, kShifted, kAmbiguous };
enum class GapPolicy { kShift, kReject };
enum class FoldPolicy { kFirst, kSecond, kReject };

// The local time a task was created with, kept so that it can be shown and resolved again.
struct TaskLocalTime {
  std::string date_time;  // as given
  std::string time_zone;  // never empty
  GapPolicy gap_policy = GapPolicy::kShift;
  FoldPolicy fold_policy = FoldPolicy::kFirst;
  LocalTimeResolution resolution = LocalTimeResolution::kUnique;
};

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
  std::optional<TaskLocalTime> local_time;
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
  std::optional<TaskLocalTime> local_time;
};

}  // namespace parley
