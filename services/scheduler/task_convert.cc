#include "services/scheduler/task_convert.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/fingerprint.h"
#include "services/jobs/local_time_convert.h"
#include "services/runtime/wire.h"

namespace parley::scheduler {
namespace {

pb::TaskState ToProto(TaskState state) {
  switch (state) {
    case TaskState::kPending:
      return pb::TASK_STATE_PENDING;
    case TaskState::kRunning:
      return pb::TASK_STATE_RUNNING;
    case TaskState::kSucceeded:
      return pb::TASK_STATE_SUCCEEDED;
    case TaskState::kDead:
      return pb::TASK_STATE_DEAD;
    case TaskState::kCancelled:
      return pb::TASK_STATE_CANCELLED;
    case TaskState::kExpired:
      return pb::TASK_STATE_EXPIRED;
  }
  return pb::TASK_STATE_UNSPECIFIED;
}

// The part of a fingerprint that says when to run.
std::string WhenAsText(const pb::CreateTaskRequest& request) {
  switch (request.when_case()) {
    case pb::CreateTaskRequest::kRunTime:
      return absl::StrCat("run_time ", request.run_time().seconds(), " ",
                          request.run_time().nanos());
    case pb::CreateTaskRequest::kDelay:
      return absl::StrCat("delay ", request.delay().seconds(), " ", request.delay().nanos());
    case pb::CreateTaskRequest::kLocalTime:
      return jobs::FingerprintOf(request.local_time());
    case pb::CreateTaskRequest::WHEN_NOT_SET:
      break;
  }
  return "now";
}

std::string TextOf(const google::protobuf::Duration& duration) {
  return absl::StrCat(duration.seconds(), " ", duration.nanos());
}

// What the two requests that say when to run have in common.
template <class Request>
TaskTime TimeFromProto(const Request& request, Violations& violations) {
  TaskTime time;
  if (request.has_run_time()) {
    time.run_time = runtime::FromTimestamp("run_time", request.run_time(), violations);
  }
  if (request.has_delay()) time.delay = DurationFromProto("delay", request.delay(), violations);
  if (request.has_local_time()) {
    time.local_time = jobs::FromProto(request.local_time(), violations);
  }
  return time;
}

DedupePolicy FromProto(pb::DedupePolicy policy, Violations& violations) {
  switch (policy) {
    case pb::DEDUPE_POLICY_UNSPECIFIED:
    case pb::DEDUPE_POLICY_REJECT:
      return DedupePolicy::kReject;
    case pb::DEDUPE_POLICY_REPLACE:
      return DedupePolicy::kReplace;
    case pb::DEDUPE_POLICY_KEEP:
      return DedupePolicy::kKeep;
    default:
      violations.Add("dedupe_policy", "is not a known value");
      return DedupePolicy::kReject;
  }
}

std::optional<Dedupe> DedupeFromProto(const pb::CreateTaskRequest& request,
                                      Violations& violations) {
  Dedupe dedupe = {.key = request.dedupe_key(),
                   .policy = FromProto(request.dedupe_policy(), violations)};
  if (request.has_dedupe_window()) {
    dedupe.window = DurationFromProto("dedupe_window", request.dedupe_window(), violations);
  }
  if (!dedupe.key.empty()) return dedupe;
  for (const auto& [field, is_set] :
       {std::pair("dedupe_policy", request.dedupe_policy() != pb::DEDUPE_POLICY_UNSPECIFIED),
        std::pair("dedupe_window", request.has_dedupe_window())}) {
    if (is_set) violations.Add(field, "must not be set without a dedupe_key");
  }
  return std::nullopt;
}

}  // namespace

pb::Task ToProto(const Task& task) {
  pb::Task result;
  Fill(task, result);
  return result;
}

void Fill(const Task& task, pb::Task& result) {
  result.set_id(task.id);
  result.set_queue(task.queue);
  result.set_name(task.name);
  result.set_payload(task.payload);
  result.mutable_headers()->insert(task.headers.begin(), task.headers.end());
  *result.mutable_run_time() = runtime::ToTimestamp(task.run_time);
  result.set_priority(task.priority);
  result.set_state(ToProto(task.state));
  result.set_attempt(task.attempt);
  result.set_max_attempts(task.max_attempts);
  if (task.lease_until) *result.mutable_lease_until() = runtime::ToTimestamp(*task.lease_until);
  if (task.expire_time) *result.mutable_expire_time() = runtime::ToTimestamp(*task.expire_time);
  result.set_cancel_requested(task.cancel_requested);
  for (const TaskError& error : task.errors) {
    pb::TaskError& shown = *result.add_errors();
    shown.set_attempt(error.attempt);
    *shown.mutable_time() = runtime::ToTimestamp(error.time);
    shown.set_text(error.text);
  }
  if (!task.errors.empty()) result.set_last_error(task.errors.back().text);
  result.set_result(task.result);
  *result.mutable_create_time() = runtime::ToTimestamp(task.create_time);
  *result.mutable_update_time() = runtime::ToTimestamp(task.update_time);
  if (const auto& local_time = task.options.local_time) {
    *result.mutable_local_time() = jobs::ToProto(*local_time);
    result.set_local_time_resolution(jobs::ToProto(local_time->resolution));
  }
  if (task.options.retry != RetryPolicy()) {
    *result.mutable_retry_policy() = ToProto(task.options.retry);
  }
  if (task.options.run_timeout) {
    *result.mutable_run_timeout() = runtime::ToDuration(*task.options.run_timeout);
  }
  result.set_concurrency_key(task.concurrency_key);
  result.set_dedupe_key(task.options.dedupe_key);
  if (task.firing) {
    result.set_schedule_id(task.firing->schedule_id);
    *result.mutable_fire_time() = runtime::ToTimestamp(task.firing->fire_time);
  }
}

pb::RetryPolicy ToProto(const RetryPolicy& policy) {
  pb::RetryPolicy result;
  if (policy.first) *result.mutable_initial_backoff() = runtime::ToDuration(*policy.first);
  if (policy.longest) *result.mutable_max_backoff() = runtime::ToDuration(*policy.longest);
  if (policy.multiplier) result.set_backoff_multiplier(*policy.multiplier);
  if (policy.jitter) result.set_jitter(*policy.jitter);
  return result;
}

std::string ToText(const pb::RetryPolicy& policy) {
  return absl::StrCat(
      policy.has_initial_backoff() ? TextOf(policy.initial_backoff()) : "", ",",
      policy.has_max_backoff() ? TextOf(policy.max_backoff()) : "", ",",
      policy.has_backoff_multiplier() ? absl::StrCat(policy.backoff_multiplier()) : "", ",",
      policy.has_jitter() ? absl::StrCat(policy.jitter()) : "");
}

RetryPolicy FromProto(const pb::RetryPolicy& policy, Violations& violations) {
  RetryPolicy result;
  if (policy.has_initial_backoff()) {
    result.first =
        DurationFromProto("retry_policy.initial_backoff", policy.initial_backoff(), violations);
  }
  if (policy.has_max_backoff()) {
    result.longest =
        DurationFromProto("retry_policy.max_backoff", policy.max_backoff(), violations);
  }
  if (policy.has_backoff_multiplier()) result.multiplier = policy.backoff_multiplier();
  if (policy.has_jitter()) result.jitter = policy.jitter();
  return result;
}

Task TaskAsCreated(const NewTask& task, std::int64_t id, absl::Time run_time,
                   absl::Time create_time) {
  Task created;
  created.id = id;
  created.queue = task.queue;
  created.name = task.name;
  created.payload = task.payload;
  created.headers = task.headers;
  created.run_time = run_time;
  created.expire_time = task.expire_time;
  created.priority = task.priority;
  created.max_attempts = task.max_attempts;
  created.create_time = create_time;
  created.update_time = create_time;
  created.options = OptionsOf(task);
  created.concurrency_key = task.concurrency_key;
  return created;
}

NewTask FromProto(const pb::CreateTaskRequest& request, Violations& violations) {
  NewTask task;
  static_cast<TaskTime&>(task) = TimeFromProto(request, violations);
  task.queue = request.queue();
  task.name = request.name();
  task.payload = request.payload();
  task.headers.insert(request.headers().begin(), request.headers().end());
  task.priority = request.priority();
  task.max_attempts = request.max_attempts();
  if (request.has_expire_time()) {
    task.expire_time = runtime::FromTimestamp("expire_time", request.expire_time(), violations);
  }
  task.retry = FromProto(request.retry_policy(), violations);
  if (request.has_run_timeout()) {
    task.run_timeout = DurationFromProto("run_timeout", request.run_timeout(), violations);
  }
  task.concurrency_key = request.concurrency_key();
  task.dedupe = DedupeFromProto(request, violations);
  return task;
}

TaskTime FromProto(const pb::RescheduleTaskRequest& request, Violations& violations) {
  return TimeFromProto(request, violations);
}

LeaseRequest FromProto(const pb::LeaseTasksRequest& request, Violations& violations) {
  LeaseRequest result;
  result.queues.assign(request.queues().begin(), request.queues().end());
  result.max_tasks = request.max_tasks();
  result.wait_for = DurationFromProto("wait_for", request.wait_for(), violations);
  if (request.has_lease_duration()) {
    result.lease_duration =
        DurationFromProto("lease_duration", request.lease_duration(), violations);
  }
  return result;
}

WorkDemand FromProto(const pb::WorkHello& hello, Violations& violations) {
  violations.SetPrefix("hello.");
  LeaseRequest request;
  request.queues.assign(hello.queues().begin(), hello.queues().end());
  if (hello.has_lease_duration()) {
    request.lease_duration =
        DurationFromProto("lease_duration", hello.lease_duration(), violations);
  }
  PrepareLeaseRequest(request, violations);
  violations.SetPrefix("");
  return {std::move(request.queues), request.lease_duration};
}

void CheckWorkRequest(const pb::WorkRequest& request, Violations& violations) {
  constexpr int kMaxTold = 1000;
  if (request.acks_size() + request.fails_size() + request.extends_size() +
          request.releases_size() >
      kMaxTold) {
    violations.Add("acks", "must be at most 1000 with fails, extends and releases");
  }
  const auto check_keys = [&](absl::string_view field, const auto& items, const auto& check) {
    for (int i = 0; i < items.size(); ++i) {
      violations.SetPrefix(absl::StrCat(field, "[", i, "]."));
      CheckLeaseKey(items[i].task_id(), items[i].lease_token(), violations);
      check(items[i]);
    }
    violations.SetPrefix("");
  };
  check_keys("acks", request.acks(),
             [&](const auto& ack) { CheckTaskResult(ack.result(), violations); });
  check_keys("fails", request.fails(),
             [&](const auto& fail) { CheckTaskError(fail.error(), violations); });
  check_keys("extends", request.extends(), [&](const auto& extend) {
    CheckLeaseDuration(DurationFromProto("lease_duration", extend.lease_duration(), violations),
                       violations);
  });
  check_keys("releases", request.releases(), [](const auto& /*release*/) {});
}

AttemptEnd ToAttemptEnd(const pb::FailTaskRequest& request) {
  return {.lease = {request.task_id(), request.lease_token()},
          .kind = request.for_good() ? AttemptEnd::Kind::kFailedForGood : AttemptEnd::Kind::kFailed,
          .error = request.error()};
}

void AddLeases(const LeasedTasks& leased, google::protobuf::RepeatedPtrField<pb::Lease>& out) {
  for (const Task& task : leased.tasks) {
    pb::Lease& lease = *out.Add();
    Fill(task, *lease.mutable_task());
    lease.set_lease_token(leased.token);
    *lease.mutable_lease_duration() = runtime::ToDuration(
        std::min(leased.lease_left, task.options.run_timeout.value_or(leased.lease_left)));
  }
}

std::optional<TaskState> FilterFromProto(pb::TaskState state, Violations& violations) {
  switch (state) {
    case pb::TASK_STATE_UNSPECIFIED:
      return std::nullopt;
    case pb::TASK_STATE_PENDING:
      return TaskState::kPending;
    case pb::TASK_STATE_RUNNING:
      return TaskState::kRunning;
    case pb::TASK_STATE_SUCCEEDED:
      return TaskState::kSucceeded;
    case pb::TASK_STATE_DEAD:
      return TaskState::kDead;
    case pb::TASK_STATE_CANCELLED:
      return TaskState::kCancelled;
    case pb::TASK_STATE_EXPIRED:
      return TaskState::kExpired;
    default:
      violations.Add("state", "is not a known value");
      return std::nullopt;
  }
}

absl::Duration DurationFromProto(absl::string_view field,
                                 const google::protobuf::Duration& duration,
                                 Violations& violations) {
  return runtime::FromDuration(field, duration, violations).value_or(kMinLease);
}

std::string FingerprintOf(const pb::CreateTaskRequest& request) {
  // Sorted: a map's order on the wire means nothing.
  const std::map<std::string, std::string> headers(request.headers().begin(),
                                                   request.headers().end());
  std::string headers_digest;
  for (const auto& [name, value] : headers) {
    headers_digest = Fingerprint({headers_digest, name, value});
  }
  std::string fingerprint =
      Fingerprint({"CreateTask", request.queue(), request.name(), request.payload(), headers_digest,
                   WhenAsText(request), absl::StrCat(request.priority()),
                   absl::StrCat(request.max_attempts())});
  // Fields that came later: requests without them keep the digest under which they are remembered.
  const auto add = [&](absl::string_view what) { fingerprint = Fingerprint({fingerprint, what}); };
  if (request.has_expire_time()) {
    add(absl::StrCat(request.expire_time().seconds(), " ", request.expire_time().nanos()));
  }
  if (request.has_retry_policy())
    add(absl::StrCat("retry_policy ", ToText(request.retry_policy())));
  if (request.has_run_timeout()) add(absl::StrCat("run_timeout ", TextOf(request.run_timeout())));
  if (!request.concurrency_key().empty()) {
    add(absl::StrCat("concurrency_key ", request.concurrency_key()));
  }
  if (!request.dedupe_key().empty()) {
    add(absl::StrCat("dedupe ", request.dedupe_policy(), " ", TextOf(request.dedupe_window()), " ",
                     request.dedupe_key()));
  }
  return fingerprint;
}

}  // namespace parley::scheduler
