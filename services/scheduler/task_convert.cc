#include "services/scheduler/task_convert.h"

#include <google/protobuf/timestamp.pb.h>

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "base/fingerprint.h"
#include "services/runtime/wire.h"

namespace parley::scheduler {
namespace {

// Timestamps reach from the beginning of year 1 to the end of year 9999, durations about 10,000
// years.
constexpr std::int64_t kFirstSecond = -62135596800;
constexpr std::int64_t kLastSecond = 253402300799;
constexpr std::int64_t kMaxDurationSeconds = 315576000000;
constexpr std::int32_t kNanosPerSecond = 1'000'000'000;

absl::Time TimeFromProto(absl::string_view field, const google::protobuf::Timestamp& time,
                         Violations& violations) {
  if (time.seconds() < kFirstSecond || time.seconds() > kLastSecond || time.nanos() < 0 ||
      time.nanos() >= kNanosPerSecond) {
    violations.Add(field, "must be a time between the years 1 and 9999, with 0 to 999999999 nanos");
    return absl::UnixEpoch();
  }
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

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
  }
  return pb::TASK_STATE_UNSPECIFIED;
}

pb::LocalTimeResolution ToProto(LocalTimeResolution resolution) {
  switch (resolution) {
    case LocalTimeResolution::kUnique:
      return pb::LOCAL_TIME_RESOLUTION_UNIQUE;
    case LocalTimeResolution::kShifted:
      return pb::LOCAL_TIME_RESOLUTION_SHIFTED;
    case LocalTimeResolution::kAmbiguous:
      return pb::LOCAL_TIME_RESOLUTION_AMBIGUOUS;
  }
  return pb::LOCAL_TIME_RESOLUTION_UNSPECIFIED;
}

pb::GapPolicy ToProto(GapPolicy policy) {
  return policy == GapPolicy::kShift ? pb::GAP_POLICY_SHIFT : pb::GAP_POLICY_REJECT;
}

pb::FoldPolicy ToProto(FoldPolicy policy) {
  switch (policy) {
    case FoldPolicy::kFirst:
      return pb::FOLD_POLICY_FIRST;
    case FoldPolicy::kSecond:
      return pb::FOLD_POLICY_SECOND;
    case FoldPolicy::kReject:
      return pb::FOLD_POLICY_REJECT;
  }
  return pb::FOLD_POLICY_UNSPECIFIED;
}

GapPolicy GapPolicyFromProto(pb::GapPolicy policy, Violations& violations) {
  switch (policy) {
    case pb::GAP_POLICY_UNSPECIFIED:
    case pb::GAP_POLICY_SHIFT:
      return GapPolicy::kShift;
    case pb::GAP_POLICY_REJECT:
      return GapPolicy::kReject;
    default:
      violations.Add("local_time.gap_policy", "is not a known value");
      return GapPolicy::kReject;
  }
}

FoldPolicy FoldPolicyFromProto(pb::FoldPolicy policy, Violations& violations) {
  switch (policy) {
    case pb::FOLD_POLICY_UNSPECIFIED:
    case pb::FOLD_POLICY_FIRST:
      return FoldPolicy::kFirst;
    case pb::FOLD_POLICY_SECOND:
      return FoldPolicy::kSecond;
    case pb::FOLD_POLICY_REJECT:
      return FoldPolicy::kReject;
    default:
      violations.Add("local_time.fold_policy", "is not a known value");
      return FoldPolicy::kReject;
  }
}

// The part of a fingerprint that says when to run.
std::string WhenAsText(const pb::CreateTaskRequest& request) {
  switch (request.when_case()) {
    case pb::CreateTaskRequest::kRunTime:
      return absl::StrCat("run_time ", request.run_time().seconds(), " ",
                          request.run_time().nanos());
    case pb::CreateTaskRequest::kDelay:
      return absl::StrCat("delay ", request.delay().seconds(), " ", request.delay().nanos());
    case pb::CreateTaskRequest::kLocalTime: {
      const pb::LocalTime& local = request.local_time();
      return Fingerprint({"local_time", local.date_time(), local.time_zone(),
                          absl::StrCat(local.gap_policy()), absl::StrCat(local.fold_policy())});
    }
    case pb::CreateTaskRequest::WHEN_NOT_SET:
      break;
  }
  return "now";
}

}  // namespace

pb::Task ToProto(const Task& task) {
  pb::Task result;
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
  result.set_last_error(task.last_error);
  *result.mutable_create_time() = runtime::ToTimestamp(task.create_time);
  *result.mutable_update_time() = runtime::ToTimestamp(task.update_time);
  if (task.local_time) {
    pb::LocalTime& local = *result.mutable_local_time();
    local.set_date_time(task.local_time->date_time);
    local.set_time_zone(task.local_time->time_zone);
    local.set_gap_policy(ToProto(task.local_time->gap_policy));
    local.set_fold_policy(ToProto(task.local_time->fold_policy));
    result.set_local_time_resolution(ToProto(task.local_time->resolution));
  }
  return result;
}

NewTask FromProto(const pb::CreateTaskRequest& request, Violations& violations) {
  NewTask task;
  task.queue = request.queue();
  task.name = request.name();
  task.payload = request.payload();
  task.headers.insert(request.headers().begin(), request.headers().end());
  task.priority = request.priority();
  task.max_attempts = request.max_attempts();
  if (request.has_run_time()) {
    task.run_time = TimeFromProto("run_time", request.run_time(), violations);
  }
  if (request.has_delay()) task.delay = DurationFromProto("delay", request.delay(), violations);
  if (request.has_local_time()) {
    const pb::LocalTime& local = request.local_time();
    task.local_time =
        TaskLocalTime{.date_time = local.date_time(),
                      .time_zone = local.time_zone(),
                      .gap_policy = GapPolicyFromProto(local.gap_policy(), violations),
                      .fold_policy = FoldPolicyFromProto(local.fold_policy(), violations)};
  }
  return task;
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
    default:
      violations.Add("state", "is not a known value");
      return std::nullopt;
  }
}

absl::Duration DurationFromProto(absl::string_view field,
                                 const google::protobuf::Duration& duration,
                                 Violations& violations) {
  const std::int64_t seconds = duration.seconds();
  const std::int32_t nanos = duration.nanos();
  const bool same_sign = (seconds <= 0 && nanos <= 0) || (seconds >= 0 && nanos >= 0);
  if (!same_sign || seconds < -kMaxDurationSeconds || seconds > kMaxDurationSeconds ||
      nanos <= -kNanosPerSecond || nanos >= kNanosPerSecond) {
    violations.Add(field, "must be a duration whose seconds and nanos agree in sign");
    return kMinLease;
  }
  return absl::Seconds(seconds) + absl::Nanoseconds(nanos);
}

google::protobuf::Duration DurationToProto(absl::Duration duration) {
  google::protobuf::Duration result;
  result.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
  result.set_nanos(static_cast<std::int32_t>(absl::ToInt64Nanoseconds(duration)));
  return result;
}

std::string FingerprintOf(const pb::CreateTaskRequest& request) {
  // Sorted: a map's order on the wire means nothing.
  const std::map<std::string, std::string> headers(request.headers().begin(),
                                                   request.headers().end());
  std::string headers_digest;
  for (const auto& [name, value] : headers) {
    headers_digest = Fingerprint({headers_digest, name, value});
  }
  return Fingerprint({"CreateTask", request.queue(), request.name(), request.payload(),
                      headers_digest, WhenAsText(request), absl::StrCat(request.priority()),
                      absl::StrCat(request.max_attempts())});
}

}  // namespace parley::scheduler
