// Between the scheduler's wire messages and its model. Total functions, any thread may call them.
#pragma once

#include <google/protobuf/duration.pb.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "db/model/task.h"
#include "parley/scheduler/v1/scheduler_service.pb.h"
#include "parley/scheduler/v1/task.pb.h"
#include "parley/scheduler/v1/worker_service.pb.h"
#include "services/scheduler/task_rules.h"
#include "services/scheduler/waiting_room.h"

namespace parley::scheduler {

namespace pb = ::parley::scheduler::v1;

pb::Task ToProto(const Task& task);
// The same, into an empty message, whose memory is used again.
void Fill(const Task& task, pb::Task& result);
pb::RetryPolicy ToProto(const RetryPolicy& policy);
// As it was put, for a digest.
std::string ToText(const pb::RetryPolicy& policy);

// A task that has just been created of `task`.
Task TaskAsCreated(const NewTask& task, std::int64_t id, absl::Time run_time,
                   absl::Time create_time);

// What cannot be said in the model (an unknown enum value, a timestamp out of range) is added to
// `violations`; the rest is for the rules to judge.
NewTask FromProto(const pb::CreateTaskRequest& request, Violations& violations);
TaskTime FromProto(const pb::RescheduleTaskRequest& request, Violations& violations);
// As the field `retry_policy` of a request.
RetryPolicy FromProto(const pb::RetryPolicy& policy, Violations& violations);
LeaseRequest FromProto(const pb::LeaseTasksRequest& request, Violations& violations);
std::optional<TaskState> FilterFromProto(pb::TaskState state, Violations& violations);
// A valid lease duration in place of what is not in a Duration's range: one violation is enough.
absl::Duration DurationFromProto(absl::string_view field,
                                 const google::protobuf::Duration& duration,
                                 Violations& violations);

// What a worker on a stream wants.
struct WorkDemand {
  std::vector<std::string> queues;
  absl::Duration lease_duration = kDefaultLease;
};
// Checks it too.
WorkDemand FromProto(const pb::WorkHello& hello, Violations& violations);
// Checks all that a frame tells of tasks.
void CheckWorkRequest(const pb::WorkRequest& request, Violations& violations);
AttemptEnd ToAttemptEnd(const pb::FailTaskRequest& request);
void AddLeases(const LeasedTasks& leased, google::protobuf::RepeatedPtrField<pb::Lease>& out);

// A digest of what the caller asked for, as it was put: a delay, not the instant it leads to.
std::string FingerprintOf(const pb::CreateTaskRequest& request);

}  // namespace parley::scheduler
