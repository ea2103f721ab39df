#include "services/scheduler/scheduler_service.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "services/scheduler/task_rules.h"

namespace parley::scheduler {
namespace {

// RedriveTasks answers with what it has got to if less time is left.
constexpr absl::Duration kRedriveMargin = absl::Milliseconds(300);

}  // namespace

void SchedulerService::TellIfPending(const Task& task) {
  if (task.state != TaskState::kPending) return;
  parts_.dispatcher.TaskReady(task.queue, task.run_time - task.update_time);
}

absl::StatusOr<pb::Task> SchedulerService::Change(
    const runtime::Call& call, std::int64_t task_id,
    const std::function<absl::StatusOr<Task>(absl::Time deadline)>& change) {
  Violations violations;
  CheckTaskId(task_id, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const Task task, change(call.deadline()));
  TellIfPending(task);
  return ToProto(task);
}

grpc::ServerUnaryReactor* SchedulerService::GetTask(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<pb::GetTaskRequest, pb::Task>(
      {.name = "GetTask"}, context, in, out,
      [this](const runtime::Call& call,
             const pb::GetTaskRequest& request) -> absl::StatusOr<pb::Task> {
        Violations violations;
        CheckTaskId(request.task_id(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_ASSIGN_OR_RETURN(const Task task,
                                parts_.tasks.GetTask(request.task_id(), call.deadline()));
        return ToProto(task);
      });
}

grpc::ServerUnaryReactor* SchedulerService::CancelTask(Context* context, const Bytes* in,
                                                       Bytes* out) {
  return calls_.Unary<pb::CancelTaskRequest, pb::Task>(
      {.name = "CancelTask"}, context, in, out,
      [this](const runtime::Call& call, const pb::CancelTaskRequest& request) {
        return Change(call, request.task_id(), [&](absl::Time deadline) {
          absl::StatusOr<Task> task = parts_.tasks.CancelTask(request.task_id(), deadline);
          if (!task.ok()) return task;
          if (task->cancel_requested) parts_.on_cancel_requested();
          if (task->state == TaskState::kCancelled) parts_.end_watch.TasksEnded({task->id});
          return task;
        });
      });
}

grpc::ServerUnaryReactor* SchedulerService::RescheduleTask(Context* context, const Bytes* in,
                                                           Bytes* out) {
  return calls_.Unary<pb::RescheduleTaskRequest, pb::Task>(
      {.name = "RescheduleTask"}, context, in, out,
      [this](const runtime::Call& call, const pb::RescheduleTaskRequest& request) {
        return Reschedule(call, request);
      });
}

absl::StatusOr<pb::Task> SchedulerService::Reschedule(const runtime::Call& call,
                                                      const pb::RescheduleTaskRequest& request) {
  Violations violations;
  CheckTaskId(request.task_id(), violations);
  TaskTime time = FromProto(request, violations);
  PrepareTaskTime(parts_.default_zone, time, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const Task task,
                          parts_.tasks.RescheduleTask(request.task_id(), time, call.deadline()));
  TellIfPending(task);
  return ToProto(task);
}

grpc::ServerUnaryReactor* SchedulerService::RunTaskNow(Context* context, const Bytes* in,
                                                       Bytes* out) {
  return calls_.Unary<pb::RunTaskNowRequest, pb::Task>(
      {.name = "RunTaskNow"}, context, in, out,
      [this](const runtime::Call& call, const pb::RunTaskNowRequest& request) {
        return Change(call, request.task_id(), [&](absl::Time deadline) {
          return parts_.tasks.RescheduleTask(request.task_id(), TaskTime(), deadline);
        });
      });
}

grpc::ServerUnaryReactor* SchedulerService::WaitTask(Context* context, const Bytes* in,
                                                     Bytes* out) {
  return calls_.UnaryNow<pb::WaitTaskRequest, pb::Task>(
      {.name = "WaitTask", .max_deadline = kLongestCall}, context, in, out,
      [this](const runtime::Call& call, const pb::WaitTaskRequest& request,
             const Done<pb::Task>& done) { WaitForEnd(call, request, done); });
}

void SchedulerService::WaitForEnd(const runtime::Call& call, const pb::WaitTaskRequest& request,
                                  const Done<pb::Task>& done) {
  Violations violations;
  CheckTaskId(request.task_id(), violations);
  absl::Duration wait_for = kMaxWait;
  if (request.has_wait_for()) {
    wait_for = DurationFromProto("wait_for", request.wait_for(), violations);
    CheckWaitFor(wait_for, violations);
  }
  if (!violations.empty()) return done(violations.ToStatus());
  parts_.end_watch.Enter(
      {.task_id = request.task_id(),
       .give_up = std::min(SteadyNow() + wait_for, call.deadline() - kAnswerMargin),
       .check_alive = [&call] { return call.CheckAlive(); },
       .done =
           [done](const absl::StatusOr<Task>& task) {
             if (!task.ok()) return done(task.status());
             done(ToProto(*task));
           }});
}

grpc::ServerUnaryReactor* SchedulerService::RedriveTask(Context* context, const Bytes* in,
                                                        Bytes* out) {
  return calls_.Unary<pb::RedriveTaskRequest, pb::Task>(
      {.name = "RedriveTask"}, context, in, out,
      [this](const runtime::Call& call, const pb::RedriveTaskRequest& request) {
        return Change(call, request.task_id(), [&](absl::Time deadline) {
          return parts_.tasks.RedriveTask(request.task_id(), deadline);
        });
      });
}

grpc::ServerUnaryReactor* SchedulerService::RedriveTasks(Context* context, const Bytes* in,
                                                         Bytes* out) {
  return calls_.Unary<pb::RedriveTasksRequest, pb::RedriveTasksResponse>(
      {.name = "RedriveTasks"}, context, in, out,
      [this](const runtime::Call& call, const pb::RedriveTasksRequest& request) {
        return Redrive(call, request);
      });
}

absl::StatusOr<pb::RedriveTasksResponse> SchedulerService::Redrive(
    const runtime::Call& call, const pb::RedriveTasksRequest& request) {
  Violations violations;
  std::int32_t limit = request.limit();
  PrepareRedrive(request.queue(), limit, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  pb::RedriveTasksResponse response;
  while (response.task_count() < limit) {
    PARLEY_RETURN_IF_ERROR(call.CheckAlive());
    PARLEY_ASSIGN_OR_RETURN(
        const std::int64_t count,
        parts_.tasks.RedriveTasks(request.queue(), limit - response.task_count(), call.deadline()));
    if (count == 0) break;
    parts_.dispatcher.TaskReady(request.queue(), absl::ZeroDuration());
    response.set_task_count(response.task_count() + static_cast<std::int32_t>(count));
    if (SteadyNow() + kRedriveMargin > call.deadline()) break;
  }
  return response;
}

}  // namespace parley::scheduler
