#include "services/scheduler/worker_service.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "services/runtime/request_parser.h"
#include "services/runtime/wire.h"
#include "services/scheduler/task_rules.h"

namespace parley::scheduler {

grpc::ServerUnaryReactor* WorkerService::LeaseTasks(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* in,
                                                    grpc::ByteBuffer* out) {
  return calls_.UnaryLater<pb::LeaseTasksRequest, pb::LeaseTasksResponse>(
      {.name = "LeaseTasks", .max_deadline = kLongestCall}, context, in, out,
      [this](const runtime::Call& call, const pb::LeaseTasksRequest& request, LeaseDone done) {
        Lease(call, request, std::move(done));
      });
}

void WorkerService::Lease(const runtime::Call& call, const pb::LeaseTasksRequest& request,
                          LeaseDone done) {
  Violations violations;
  LeaseRequest wanted = FromProto(request, violations);
  PrepareLeaseRequest(wanted, violations);
  if (absl::Status valid = violations.ToStatus(); !valid.ok()) return done(valid);
  parts_.dispatcher.Lease(
      {.queues = std::move(wanted.queues),
       .max_tasks = wanted.max_tasks,
       .lease_duration = wanted.lease_duration,
       .give_up = std::min(SteadyNow() + wanted.wait_for, call.deadline() - kAnswerMargin),
       .check_alive = [&call] { return call.CheckAlive(); },
       .done =
           [done = std::move(done)](const absl::StatusOr<LeasedTasks>& leased) {
             if (!leased.ok()) return done(leased.status());
             pb::LeaseTasksResponse response;
             AddLeases(*leased, *response.mutable_leases());
             done(std::move(response));
           }});
}

grpc::ServerUnaryReactor* WorkerService::AckTask(grpc::CallbackServerContext* context,
                                                 const grpc::ByteBuffer* in,
                                                 grpc::ByteBuffer* out) {
  return calls_.UnaryNow<pb::AckTaskRequest, pb::Task>(
      {.name = "AckTask"}, context, in, out,
      [this](const runtime::Call& call, const pb::AckTaskRequest& request,
             const std::function<void(absl::StatusOr<pb::Task>)>& done) {
        Ack(call, request, done);
      });
}

void WorkerService::Ack(const runtime::Call& call, const pb::AckTaskRequest& request,
                        const std::function<void(absl::StatusOr<pb::Task>)>& done) {
  Violations violations;
  CheckLeaseKey(request.task_id(), request.lease_token(), violations);
  CheckTaskResult(request.result(), violations);
  if (!violations.empty()) return done(violations.ToStatus());
  // Whether the ack was the first or not, the task tells what became of it.
  auto show = [this, &call, &request, done] {
    const absl::StatusOr<Task> task =
        parts_.tasks.GetAckedTask({request.task_id(), request.lease_token()}, call.deadline());
    if (!task.ok()) return done(task.status());
    done(scheduler::ToProto(*task));
  };
  parts_.acker.Ack({{request.task_id(), request.lease_token(), request.result()}}, call.deadline(),
                   [this, done, show](const absl::StatusOr<std::vector<bool>>& held) {
                     if (!held.ok()) return done(held.status());
                     if (!parts_.executor.Submit(show)) done(runtime::QueueFullError());
                   });
}

grpc::ServerUnaryReactor* WorkerService::FailTask(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* in,
                                                  grpc::ByteBuffer* out) {
  return calls_.Unary<pb::FailTaskRequest, pb::Task>(
      {.name = "FailTask"}, context, in, out,
      [this](const runtime::Call& call, const pb::FailTaskRequest& request) {
        return Fail(call, request);
      });
}

absl::StatusOr<pb::Task> WorkerService::Fail(const runtime::Call& call,
                                             const pb::FailTaskRequest& request) {
  Violations violations;
  CheckLeaseKey(request.task_id(), request.lease_token(), violations);
  CheckTaskError(request.error(), violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  return End(call, ToAttemptEnd(request));
}

absl::StatusOr<pb::Task> WorkerService::End(const runtime::Call& call, const AttemptEnd& end) {
  PARLEY_ASSIGN_OR_RETURN(const Task task, parts_.tasks.EndAttempt(end, call.deadline()));
  if (task.state == TaskState::kPending) {
    parts_.dispatcher.TaskReady(task.queue, task.run_time - task.update_time);
  } else {
    parts_.dispatcher.TaskEnded(task.queue);
    parts_.end_watch.TasksEnded({task.id});
  }
  return scheduler::ToProto(task);
}

grpc::ServerUnaryReactor* WorkerService::ReleaseTask(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* in,
                                                     grpc::ByteBuffer* out) {
  return calls_.Unary<pb::ReleaseTaskRequest, pb::Task>(
      {.name = "ReleaseTask"}, context, in, out,
      [this](const runtime::Call& call,
             const pb::ReleaseTaskRequest& request) -> absl::StatusOr<pb::Task> {
        Violations violations;
        CheckLeaseKey(request.task_id(), request.lease_token(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        return End(call, {.lease = {request.task_id(), request.lease_token()},
                          .kind = AttemptEnd::Kind::kReleased});
      });
}

grpc::ServerUnaryReactor* WorkerService::ExtendLease(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* in,
                                                     grpc::ByteBuffer* out) {
  return calls_.Unary<pb::ExtendLeaseRequest, pb::Task>(
      {.name = "ExtendLease"}, context, in, out,
      [this](const runtime::Call& call,
             const pb::ExtendLeaseRequest& request) -> absl::StatusOr<pb::Task> {
        Violations violations;
        CheckLeaseKey(request.task_id(), request.lease_token(), violations);
        const absl::Duration lease_duration =
            DurationFromProto("lease_duration", request.lease_duration(), violations);
        CheckLeaseDuration(lease_duration, violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_ASSIGN_OR_RETURN(const Task task,
                                parts_.tasks.ExtendLease({request.task_id(), request.lease_token()},
                                                         lease_duration, call.deadline()));
        return scheduler::ToProto(task);
      });
}

runtime::BidiReactor* WorkerService::Work(grpc::CallbackServerContext* context) {
  return runtime::ServeDuplex(
      calls_, {.name = "Work"}, context,
      [this](const std::shared_ptr<runtime::DuplexStream>& stream) { hub_.Welcome(stream); });
}

}  // namespace parley::scheduler
