// What is a valid request to the scheduler, and what is meant where nothing is said. Pure
// functions: any thread may call them. Every check adds to `violations` all that is wrong, by field
// path.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "db/model/task.h"

namespace parley::scheduler {

// Of calls that wait. A wait ends kAnswerMargin before the call's deadline, so that the answer
// still reaches the caller; without a deadline the call takes kLongestCall at most.
inline constexpr absl::Duration kMaxWait = absl::Seconds(60);
inline constexpr absl::Duration kAnswerMargin = absl::Milliseconds(100);
inline constexpr absl::Duration kLongestCall = absl::Seconds(70);
inline constexpr absl::Duration kDefaultLease = absl::Seconds(30);
inline constexpr absl::Duration kMinLease = absl::Seconds(1);
inline constexpr absl::Duration kMaxLease = absl::Hours(1);

// Checks a task that is to be created and makes it ready: expire_time gets the precision that is
// stored, and a local time becomes run_time (`default_zone` stands for an empty zone).
void PrepareNewTask(absl::string_view default_zone, NewTask& task, Violations& violations);
// Of a task, or of a queue; fields of `retry_policy`.
void CheckRetryPolicy(const RetryPolicy& policy, Violations& violations);
// The same for the time that a task is given later.
void PrepareTaskTime(absl::string_view default_zone, TaskTime& time, Violations& violations);

// What a worker asks for.
struct LeaseRequest {
  std::vector<std::string> queues;
  std::int32_t max_tasks = 0;
  absl::Duration wait_for;
  absl::Duration lease_duration = kDefaultLease;
};

// Checks it and makes it ready: queues named twice are left once, max_tasks gets its default and
// its maximum.
void PrepareLeaseRequest(LeaseRequest& request, Violations& violations);

// How a worker names its lease.
void CheckLeaseKey(std::int64_t task_id, absl::string_view lease_token, Violations& violations);
void CheckLeaseDuration(absl::Duration lease_duration, Violations& violations);
void CheckTaskId(std::int64_t task_id, Violations& violations);
// How long a call is to wait.
void CheckWaitFor(absl::Duration wait_for, Violations& violations);
void CheckTaskError(absl::string_view error, Violations& violations);
void CheckTaskResult(absl::string_view result, Violations& violations);

// What lists of tasks take; empty means all.
void CheckQueueFilter(absl::string_view queue, Violations& violations);
void CheckNameFilter(absl::string_view name, Violations& violations);
// What RedriveTasks takes; `limit` gets its default and its maximum.
void PrepareRedrive(absl::string_view queue, std::int32_t& limit, Violations& violations);

// Whether `text` is a number of days for which the history may be kept, or dead tasks.
bool IsHistoryDays(const std::string& text);
bool IsDeadDays(const std::string& text);

}  // namespace parley::scheduler
