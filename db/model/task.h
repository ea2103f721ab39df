// Tasks, as stored.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/local_time.h"

namespace parley {

// from      event                          to          guard
// PENDING   claim                          RUNNING     due; attempt + 1, fresh token, lease
// PENDING   reschedule, run now            PENDING     run_time
// PENDING   cancel                         CANCELLED
// PENDING   expire_time is over            EXPIRED
// RUNNING   ack                            SUCCEEDED   token
// RUNNING   fail, attempts left            PENDING     token; run_time = now + backoff
// RUNNING   fail, none left, or for good   DEAD        token
// RUNNING   lease over, attempts left      PENDING     the attempt stays counted
// RUNNING   lease over, none left          DEAD
// RUNNING   release                        PENDING     token; attempt - 1
// RUNNING   cancel                         RUNNING     cancel_requested; where it would be tried
//                                                      again or be dead, it is CANCELLED instead
// DEAD      redrive                        PENDING     run_time = now, attempt = 0
enum class TaskState { kPending, kRunning, kSucceeded, kDead, kCancelled, kExpired };

// Queues of the suite's own begin so. Their tasks are worked on inside the services; callers see
// them and may cancel them, but neither create nor lease them.
inline constexpr char kReservedQueuePrefix[] = "parley.";

// What a failed attempt said.
struct TaskError {
  std::int32_t attempt = 0;
  absl::Time time;
  std::string text;
};

// How long a task rests after a failed attempt: `first` after the first, `multiplier` times as long
// after each further one, times 1 - jitter to 1 + jitter, at random; `longest` at most. What is
// absent is the queue's, or the default.
struct RetryPolicy {
  std::optional<absl::Duration> first;    // default 1 s
  std::optional<absl::Duration> longest;  // default 1 h
  std::optional<double> multiplier;       // default 2
  std::optional<double> jitter;           // default 0.1

  bool operator==(const RetryPolicy&) const = default;
};

// What to do with a new task whose dedupe key is taken: refuse it, let it take the place of the one
// that has the key, if that is still pending, or leave it at that one.
enum class DedupePolicy { kReject, kReplace, kKeep };

// Of the tasks of a queue that have the same key, one is live at a time.
struct Dedupe {
  std::string key;
  DedupePolicy policy = DedupePolicy::kReject;
  absl::Duration window;  // so long after the task has succeeded the key is still taken
};

// What only some tasks have.
struct TaskOptions {
  // The local time that it was given, so that it can be shown and resolved again.
  std::optional<LocalTime> local_time;
  RetryPolicy retry;
  // From its claim on; then the attempt counts as failed, whatever its lease.
  std::optional<absl::Duration> run_timeout;
  std::string dedupe_key;  // empty: none
};

// The firing of a schedule that a task stands for.
struct Firing {
  std::int64_t schedule_id = 0;
  absl::Time fire_time;
};

// Of the suite's own tasks.
inline constexpr std::int32_t kOwnMaxAttempts = 100;
inline const RetryPolicy kOwnRetry = {.longest = absl::Minutes(5)};

struct Task {
  std::int64_t id = 0;
  std::string queue;
  std::string name;
  std::string payload;  // bytes
  std::map<std::string, std::string> headers;
  absl::Time run_time;
  std::optional<absl::Time> expire_time;  // not begun by then, it expires
  std::int32_t priority = 0;              // 0..9, greater first
  TaskState state = TaskState::kPending;
  std::int32_t attempt = 0;
  std::int32_t max_attempts = 0;
  std::optional<absl::Time> lease_until;
  bool cancel_requested = false;  // while RUNNING
  std::vector<TaskError> errors;  // the oldest first
  std::string result;             // bytes; of a SUCCEEDED one
  absl::Time create_time;
  absl::Time update_time;
  TaskOptions options;
  std::string concurrency_key;  // empty: none
  std::optional<Firing> firing;
};

// The tokens of leases that pushers hold begin so ("push" in ASCII), so that what they have claimed
// can be told from what workers have. Eight more digits tell where they hand it over; the rest, 64
// bits, is random.
inline constexpr char kPushTokenPrefix[] = "70757368";
inline constexpr int kPlaceTokenPrefixSize = 16;  // digits, with the place

// What a worker shows to end or extend its lease.
struct LeaseKey {
  std::int64_t task_id = 0;
  std::string token;  // 32 lower-case hex digits
};

// How an attempt ends that is no success.
struct AttemptEnd {
  enum class Kind {
    kFailed,         // tried again after its rest, or DEAD if it was the last attempt
    kAbandoned,      // the same without the rest: whoever had it is gone
    kFailedForGood,  // DEAD, whatever attempts are left
    kReleased,       // as if the task had not been claimed
  };
  LeaseKey lease;
  Kind kind = Kind::kFailed;
  std::string error;
};

// When a task is to run: at run_time (absent: now), and `delay` later still.
struct TaskTime {
  std::optional<absl::Time> run_time;
  absl::Duration delay;
  std::optional<LocalTime> local_time;  // what run_time was made of
};

// A task as it is to be created.
struct NewTask : TaskTime {
  std::string queue;
  std::string name;
  std::string payload;
  std::map<std::string, std::string> headers;
  std::optional<absl::Time> expire_time;
  std::int32_t priority = 0;
  std::int32_t max_attempts = 0;  // 0: the queue's, or 10
  RetryPolicy retry;
  std::optional<absl::Duration> run_timeout;
  std::string concurrency_key;  // empty: none
  std::optional<Dedupe> dedupe;
  std::optional<Firing> firing;
};

inline TaskOptions OptionsOf(const NewTask& task) {
  return {.local_time = task.local_time,
          .retry = task.retry,
          .run_timeout = task.run_timeout,
          .dedupe_key = task.dedupe ? task.dedupe->key : ""};
}

}  // namespace parley
