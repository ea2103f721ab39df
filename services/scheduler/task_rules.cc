#include "services/scheduler/task_rules.h"

#include <algorithm>
#include <optional>
#include <unordered_set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/local_time.h"
#include "base/text.h"
#include "services/scheduler/queue_rules.h"

namespace parley::scheduler {
namespace {

constexpr std::size_t kMaxTaskName = 256;
constexpr std::size_t kMaxPayload = std::size_t{1} << 20;
constexpr std::size_t kMaxHeaders = 64;
constexpr std::size_t kMaxHeaderName = 256;
constexpr std::size_t kShownHeaderName = 64;  // bytes of it in a field path
constexpr std::size_t kMaxHeaderBytes = std::size_t{16} << 10;
constexpr std::size_t kMaxConcurrencyKey = 128;
constexpr std::size_t kMaxDedupeKey = 256;
constexpr std::size_t kMaxError = 1024;
constexpr std::size_t kMaxResult = std::size_t{256} << 10;
constexpr std::int32_t kMaxRedrive = 1000;
constexpr std::size_t kTokenSize = 32;
constexpr std::size_t kMaxLeaseQueues = 20;
constexpr std::int32_t kMaxPriority = 9;
constexpr std::int32_t kMaxAttempts = 100;
constexpr std::int32_t kMaxLeaseTasks = 100;
const absl::Duration kMaxRunTimeout = absl::Hours(24) * 30;
const absl::Duration kMaxDedupeWindow = absl::Hours(24) * 366;
const absl::Duration kMaxBackoff = absl::Hours(24) * 30;
constexpr double kMaxMultiplier = 10;
const absl::Duration kMaxDelay = absl::Hours(24) * 3653;  // ten years, leap days included

void CheckHeaders(const std::map<std::string, std::string>& headers, Violations& violations) {
  if (headers.size() > kMaxHeaders) violations.Add("headers", "must have at most 64 entries");
  std::size_t bytes = 0;
  for (const auto& [name, value] : headers) {
    bytes += name.size() + value.size();
    const std::string field = absl::StrCat("headers[\"", CutText(name, kShownHeaderName), "\"]");
    CheckText(field, name, {.min = 1, .max = kMaxHeaderName}, violations);
    CheckText(field, value, {.max = kMaxHeaderBytes}, violations);
  }
  if (bytes > kMaxHeaderBytes) violations.Add("headers", "must be at most 16 KiB in all");
}

// Whether `text` is a number of days from `least` to ten years.
bool AreDays(const std::string& text, int least) {
  constexpr int kMostDays = 3650;
  int days = 0;
  return absl::SimpleAtoi(text, &days) && days >= least && days <= kMostDays;
}

}  // namespace

void PrepareNewTask(absl::string_view default_zone, NewTask& task, Violations& violations) {
  CheckOpenQueue("queue", task.queue, violations);
  CheckText("name", task.name, {.min = 1, .max = kMaxTaskName}, violations);
  if (task.payload.size() > kMaxPayload) violations.Add("payload", "must be at most 1 MiB");
  CheckHeaders(task.headers, violations);
  if (task.priority < 0 || task.priority > kMaxPriority) {
    violations.Add("priority", "must be 0 to 9");
  }
  if (task.max_attempts < 0 || task.max_attempts > kMaxAttempts) {
    violations.Add("max_attempts", "must be 1 to 100, or 0 for what the queue says");
  }
  CheckRetryPolicy(task.retry, violations);
  if (task.run_timeout && (*task.run_timeout < kMinLease || *task.run_timeout > kMaxRunTimeout)) {
    violations.Add("run_timeout", "must be 1 s to 30 days");
  }
  CheckText("concurrency_key", task.concurrency_key, {.max = kMaxConcurrencyKey}, violations);
  if (task.dedupe) {
    CheckText("dedupe_key", task.dedupe->key, {.min = 1, .max = kMaxDedupeKey}, violations);
    if (task.dedupe->window < absl::ZeroDuration() || task.dedupe->window > kMaxDedupeWindow) {
      violations.Add("dedupe_window", "must be 0 to 366 days");
    }
  }
  if (task.expire_time) {
    task.expire_time = absl::FromUnixMicros(absl::ToUnixMicros(*task.expire_time));
  }
  PrepareTaskTime(default_zone, task, violations);
}

void CheckRetryPolicy(const RetryPolicy& policy, Violations& violations) {
  const auto check = [&](absl::string_view field, const std::optional<absl::Duration>& backoff) {
    if (backoff && (*backoff < absl::ZeroDuration() || *backoff > kMaxBackoff)) {
      violations.Add(field, "must be 0 to 30 days");
    }
  };
  check("retry_policy.initial_backoff", policy.first);
  check("retry_policy.max_backoff", policy.longest);
  // Negated, so that what is no number is refused too.
  if (policy.multiplier && !(*policy.multiplier >= 1 && *policy.multiplier <= kMaxMultiplier)) {
    violations.Add("retry_policy.backoff_multiplier", "must be 1 to 10");
  }
  if (policy.jitter && !(*policy.jitter >= 0 && *policy.jitter <= 1)) {
    violations.Add("retry_policy.jitter", "must be 0 to 1");
  }
}

void PrepareTaskTime(absl::string_view default_zone, TaskTime& time, Violations& violations) {
  if (time.delay < absl::ZeroDuration() || time.delay > kMaxDelay) {
    violations.Add("delay", "must be 0 or more, and at most 10 years");
  }
  if (!time.local_time) return;
  std::optional<ResolvedLocalTime> resolved =
      ResolveLocalTime(*time.local_time, default_zone, violations);
  if (!resolved) return;
  time.run_time = resolved->instant;
  time.local_time = std::move(resolved->local_time);
}

void PrepareLeaseRequest(LeaseRequest& request, Violations& violations) {
  if (request.queues.empty() || request.queues.size() > kMaxLeaseQueues) {
    violations.Add("queues", "must name 1 to 20 queues");
  }
  for (std::size_t i = 0; i < std::min(request.queues.size(), kMaxLeaseQueues); ++i) {
    CheckOpenQueue(absl::StrCat("queues[", i, "]"), request.queues[i], violations);
  }
  std::unordered_set<std::string> seen;
  std::erase_if(request.queues,
                [&](const std::string& queue) { return !seen.insert(queue).second; });
  if (request.max_tasks < 0) violations.Add("max_tasks", "must not be negative");
  if (request.max_tasks == 0) request.max_tasks = 1;
  request.max_tasks = std::min(request.max_tasks, kMaxLeaseTasks);
  CheckWaitFor(request.wait_for, violations);
  CheckLeaseDuration(request.lease_duration, violations);
}

void CheckLeaseKey(std::int64_t task_id, absl::string_view lease_token, Violations& violations) {
  CheckTaskId(task_id, violations);
  const bool hex = std::all_of(lease_token.begin(), lease_token.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
  if (lease_token.size() != kTokenSize || !hex) {
    violations.Add("lease_token", "must be the lease_token of a lease");
  }
}

void CheckLeaseDuration(absl::Duration lease_duration, Violations& violations) {
  if (lease_duration < kMinLease || lease_duration > kMaxLease) {
    violations.Add("lease_duration", "must be 1 s to 1 h");
  }
}

void CheckTaskId(std::int64_t task_id, Violations& violations) {
  if (task_id <= 0) violations.Add("task_id", "must be positive");
}

void CheckWaitFor(absl::Duration wait_for, Violations& violations) {
  if (wait_for < absl::ZeroDuration() || wait_for > kMaxWait) {
    violations.Add("wait_for", "must be 0 to 60 s");
  }
}

void CheckTaskError(absl::string_view error, Violations& violations) {
  CheckText("error", error, {.max = kMaxError}, violations);
}

void CheckTaskResult(absl::string_view result, Violations& violations) {
  if (result.size() > kMaxResult) violations.Add("result", "must be at most 256 KiB");
}

void CheckQueueFilter(absl::string_view queue, Violations& violations) {
  if (!queue.empty()) CheckQueue("queue", queue, violations);
}

void CheckNameFilter(absl::string_view name, Violations& violations) {
  CheckText("name", name, {.max = kMaxTaskName}, violations);
}

void PrepareRedrive(absl::string_view queue, std::int32_t& limit, Violations& violations) {
  CheckQueue("queue", queue, violations);
  if (limit < 0) violations.Add("limit", "must not be negative");
  if (limit == 0) limit = kMaxRedrive;
  limit = std::min(limit, kMaxRedrive);
}

bool IsHistoryDays(const std::string& text) { return AreDays(text, 1); }

bool IsDeadDays(const std::string& text) { return AreDays(text, 0); }

}  // namespace parley::scheduler
