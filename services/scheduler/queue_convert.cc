#include "services/scheduler/queue_convert.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/fingerprint.h"
#include "services/runtime/wire.h"
#include "services/scheduler/push/queue_target_convert.h"
#include "services/scheduler/task_convert.h"

namespace parley::scheduler {
namespace {

const std::vector<std::string> kSettings = {"max_attempts",        "retry_policy", "max_running",
                                            "max_running_per_key", "rate_limit",   "target"};

}  // namespace

pb::Queue ToProto(const Queue& queue) {
  pb::Queue result;
  const QueueSettings& settings = queue.settings;
  result.set_name(queue.name);
  result.set_max_attempts(settings.max_attempts);
  if (settings.retry != RetryPolicy()) *result.mutable_retry_policy() = ToProto(settings.retry);
  result.set_max_running(settings.max_running);
  result.set_max_running_per_key(settings.max_running_per_key);
  if (settings.rate_limit) {
    result.mutable_rate_limit()->set_rate(settings.rate_limit->rate);
    result.mutable_rate_limit()->set_burst(settings.rate_limit->burst);
  }
  if (settings.target) *result.mutable_target() = ToProto(*settings.target);
  if (queue.pause_time) *result.mutable_pause_time() = runtime::ToTimestamp(*queue.pause_time);
  result.set_pause_note(queue.pause_note);
  if (queue.create_time) *result.mutable_create_time() = runtime::ToTimestamp(*queue.create_time);
  if (queue.update_time) *result.mutable_update_time() = runtime::ToTimestamp(*queue.update_time);
  result.set_etag(runtime::ToEtag(queue.version));
  return result;
}

pb::QueueStats ToProto(const std::string& queue, const QueueStats& stats) {
  pb::QueueStats result;
  result.set_queue(queue);
  result.set_pending_count(stats.pending);
  result.set_running_count(stats.running);
  result.set_dead_count(stats.dead);
  result.set_created_total(stats.created);
  result.set_succeeded_total(stats.succeeded);
  result.set_cancelled_total(stats.cancelled);
  result.set_expired_total(stats.expired);
  result.set_died_total(stats.died);
  result.set_retried_total(stats.retried);
  if (stats.oldest_due_time) {
    *result.mutable_oldest_due_time() = runtime::ToTimestamp(*stats.oldest_due_time);
  }
  if (stats.next_due_time) {
    *result.mutable_next_due_time() = runtime::ToTimestamp(*stats.next_due_time);
  }
  if (stats.pause_time) *result.mutable_pause_time() = runtime::ToTimestamp(*stats.pause_time);
  return result;
}

QueueSettings SettingsFromProto(const pb::Queue& queue, Violations& violations) {
  QueueSettings settings;
  settings.max_attempts = queue.max_attempts();
  violations.SetPrefix("queue.");
  settings.retry = FromProto(queue.retry_policy(), violations);
  violations.SetPrefix("");
  settings.max_running = queue.max_running();
  settings.max_running_per_key = queue.max_running_per_key();
  if (queue.has_rate_limit()) {
    settings.rate_limit = {.rate = queue.rate_limit().rate(), .burst = queue.rate_limit().burst()};
  }
  if (queue.has_target()) settings.target = FromProto(queue.target(), violations);
  return settings;
}

QueueUpdate FromProto(const pb::UpdateQueueRequest& request, Violations& violations) {
  const pb::Queue& queue = request.queue();
  std::vector<std::string> populated;
  if (queue.max_attempts() != 0) populated.emplace_back("max_attempts");
  if (queue.has_retry_policy()) populated.emplace_back("retry_policy");
  if (queue.max_running() != 0) populated.emplace_back("max_running");
  if (queue.max_running_per_key() != 0) populated.emplace_back("max_running_per_key");
  if (queue.has_rate_limit()) populated.emplace_back("rate_limit");
  if (queue.has_target()) populated.emplace_back("target");
  QueueUpdate update;
  update.fields =
      runtime::FieldsToUpdate(request.has_update_mask() ? &request.update_mask() : nullptr,
                              kSettings, populated, violations);
  // What the mask does not name is not looked at.
  pb::Queue named = queue;
  if (!update.fields.contains("max_attempts")) named.clear_max_attempts();
  if (!update.fields.contains("retry_policy")) named.clear_retry_policy();
  if (!update.fields.contains("max_running")) named.clear_max_running();
  if (!update.fields.contains("max_running_per_key")) named.clear_max_running_per_key();
  if (!update.fields.contains("rate_limit")) named.clear_rate_limit();
  if (!update.fields.contains("target")) named.clear_target();
  update.settings = SettingsFromProto(named, violations);
  return update;
}

QueueChange ChangeOf(const QueueUpdate& update) {
  QueueChange change;
  const QueueSettings& settings = update.settings;
  if (update.fields.contains("max_attempts")) change.max_attempts = settings.max_attempts;
  if (update.fields.contains("retry_policy")) change.retry = settings.retry;
  if (update.fields.contains("max_running")) change.max_running = settings.max_running;
  if (update.fields.contains("max_running_per_key")) {
    change.max_running_per_key = settings.max_running_per_key;
  }
  if (update.fields.contains("rate_limit")) change.rate_limit = settings.rate_limit;
  if (update.fields.contains("target")) change.target = settings.target;
  return change;
}

TaskState PurgedStateFromProto(const pb::PurgeQueueRequest& request, Violations& violations) {
  switch (request.state()) {
    case pb::TASK_STATE_UNSPECIFIED:
    case pb::TASK_STATE_PENDING:
      return TaskState::kPending;
    case pb::TASK_STATE_DEAD:
      return TaskState::kDead;
    default:
      violations.Add("state", "must be PENDING or DEAD");
      return TaskState::kPending;
  }
}

std::string FingerprintOf(const pb::CreateQueueRequest& request) {
  const pb::Queue& queue = request.queue();
  const auto rate = queue.has_rate_limit() ? absl::StrFormat("%.17g %d", queue.rate_limit().rate(),
                                                             queue.rate_limit().burst())
                                           : std::string();
  return Fingerprint({"CreateQueue", queue.name(), absl::StrCat(queue.max_attempts()),
                      ToText(queue.retry_policy()), absl::StrCat(queue.max_running()),
                      absl::StrCat(queue.max_running_per_key()), rate, ToText(queue.target())});
}

}  // namespace parley::scheduler
