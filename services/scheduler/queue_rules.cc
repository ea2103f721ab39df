#include "services/scheduler/queue_rules.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "base/text.h"
#include "services/scheduler/push/push_rules.h"
#include "services/scheduler/task_rules.h"

namespace parley::scheduler {
namespace {

constexpr std::size_t kMaxQueueName = 128;
constexpr std::size_t kMaxPauseNote = 256;
constexpr std::int32_t kMaxQueueAttempts = 100;
constexpr std::int32_t kMaxRunning = 1'000'000;
constexpr std::int32_t kMaxBurst = 1'000'000;
constexpr double kMinRate = 0.00001;
constexpr double kMaxRate = 1'000'000;

void CheckRunningLimit(absl::string_view field, std::int32_t limit, Violations& violations) {
  if (limit < 0 || limit > kMaxRunning) {
    violations.Add(field, "must be 1 to 1000000, or 0 for no limit");
  }
}

}  // namespace

void CheckQueue(absl::string_view field, absl::string_view queue, Violations& violations) {
  const bool well_formed = std::all_of(queue.begin(), queue.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
  });
  if (queue.empty() || queue.size() > kMaxQueueName || !well_formed) {
    violations.Add(field, "must be 1 to 128 of the characters A-Z a-z 0-9 . _ -");
  }
}

void CheckOpenQueue(absl::string_view field, absl::string_view queue, Violations& violations) {
  CheckQueue(field, queue, violations);
  if (absl::StartsWith(queue, kReservedQueuePrefix)) {
    violations.Add(field, "must not begin with \"parley.\", which is reserved for the suite's own");
  }
}

void PrepareQueueSettings(QueueSettings& settings, Violations& violations) {
  if (settings.max_attempts < 0 || settings.max_attempts > kMaxQueueAttempts) {
    violations.Add("queue.max_attempts", "must be 1 to 100, or 0 for the default");
  }
  violations.SetPrefix("queue.");
  CheckRetryPolicy(settings.retry, violations);
  violations.SetPrefix("");
  CheckRunningLimit("queue.max_running", settings.max_running, violations);
  CheckRunningLimit("queue.max_running_per_key", settings.max_running_per_key, violations);
  if (settings.target) CheckQueueTarget(*settings.target, violations);
  if (!settings.rate_limit) return;
  RateLimit& limit = *settings.rate_limit;
  // Negated, so that what is no number is refused too.
  if (!(limit.rate >= kMinRate && limit.rate <= kMaxRate)) {
    return violations.Add("queue.rate_limit.rate", "must be 0.00001 to 1000000");
  }
  if (limit.burst < 0 || limit.burst > kMaxBurst) {
    violations.Add("queue.rate_limit.burst", "must be 1 to 1000000, or 0 for the default");
  }
  if (limit.burst == 0) limit.burst = std::max(1, static_cast<std::int32_t>(std::ceil(limit.rate)));
}

void CheckPauseNote(absl::string_view note, Violations& violations) {
  CheckText("note", note, {.max = kMaxPauseNote}, violations);
}

}  // namespace parley::scheduler
