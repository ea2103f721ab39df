#include "services/scheduler/worker_service.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/status_macros.h"
#include "services/runtime/wire.h"
#include "services/scheduler/task_rules.h"

namespace parley::scheduler {
namespace {

// A wait ends so long before the call's deadline, so that the answer still reaches the caller.
constexpr absl::Duration kAnswerMargin = absl::Milliseconds(100);
const absl::Duration kLongestCall = kMaxWait + absl::Seconds(10);

pb::LeaseTasksResponse ToProto(const LeasedTasks& leased) {
  pb::LeaseTasksResponse response;
  for (const Task& task : leased.tasks) {
    pb::Lease& lease = *response.add_leases();
    *lease.mutable_task() = scheduler::ToProto(task);
    lease.set_lease_token(leased.token);
    *lease.mutable_lease_duration() = runtime::ToDuration(leased.lease_left);
  }
  return response;
}

}  // namespace

WorkerService::WorkerService(runtime::CallPipeline& calls, db::TaskRepository& tasks,
                             Dispatcher& dispatcher, std::function<double()> random)
    : calls_(calls), tasks_(tasks), dispatcher_(dispatcher), random_(std::move(random)) {}

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
  dispatcher_.Lease(
      {.queues = std::move(wanted.queues),
       .max_tasks = wanted.max_tasks,
       .lease_duration = wanted.lease_duration,
       .give_up = std::min(absl::Now() + wanted.wait_for, call.deadline() - kAnswerMargin),
       .check_alive = [&call] { return call.CheckAlive(); },
       .done =
           [done = std::move(done)](const absl::StatusOr<LeasedTasks>& leased) {
             if (!leased.ok()) return done(leased.status());
             done(ToProto(*leased));
           }});
}

grpc::ServerUnaryReactor* WorkerService::AckTask(grpc::CallbackServerContext* context,
                                                 const grpc::ByteBuffer* in,
                                                 grpc::ByteBuffer* out) {
  return calls_.Unary<pb::AckTaskRequest, pb::Task>(
      {.name = "AckTask"}, context, in, out,
      [this](const runtime::Call& call,
             const pb::AckTaskRequest& request) -> absl::StatusOr<pb::Task> {
        Violations violations;
        CheckLeaseKey(request.task_id(), request.lease_token(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_ASSIGN_OR_RETURN(
            const Task task,
            tasks_.AckTask({request.task_id(), request.lease_token()}, call.deadline()));
        return scheduler::ToProto(task);
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
  PARLEY_ASSIGN_OR_RETURN(
      const Task task,
      tasks_.FailTask(
          {.lease = {request.task_id(), request.lease_token()},
           .error = request.error(),
           .retry_delay = [this](std::int32_t attempt) { return RetryDelay(attempt, random_()); }},
          call.deadline()));
  if (task.state == TaskState::kPending) {
    dispatcher_.TaskReady(task.queue, task.run_time - task.update_time);
  }
  return scheduler::ToProto(task);
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
                                tasks_.ExtendLease({request.task_id(), request.lease_token()},
                                                   lease_duration, call.deadline()));
        return scheduler::ToProto(task);
      });
}

}  // namespace parley::scheduler
