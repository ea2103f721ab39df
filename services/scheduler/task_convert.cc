#include "services/scheduler/task_convert.h"

#include <cstdint>

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
    *result.mutable_local_time() = jobs::ToProto(*task.local_time);
    result.set_local_time_resolution(jobs::ToProto(task.local_time->resolution));
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
    task.run_time = runtime::FromTimestamp("run_time", request.run_time(), violations);
  }
  if (request.has_delay()) task.delay = DurationFromProto("delay", request.delay(), violations);
  if (request.has_local_time()) {
    task.local_time = jobs::FromProto(request.local_time(), violations);
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
  return Fingerprint({"CreateTask", request.queue(), request.name(), request.payload(),
                      headers_digest, WhenAsText(request), absl::StrCat(request.priority()),
                      absl::StrCat(request.max_attempts())});
}

}  // namespace parley::scheduler
