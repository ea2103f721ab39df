// The calls of producers and operators.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "db/repository/keyed_task_creator.h"
#include "db/repository/task_creator.h"
#include "db/repository/task_repository.h"
#include "parley/scheduler/v1/scheduler_service.grpc.pb.h"
#include "services/runtime/call.h"
#include "services/runtime/executor.h"
#include "services/scheduler/dispatcher.h"
#include "services/scheduler/end_watch.h"
#include "services/scheduler/task_convert.h"

namespace parley::scheduler {

// parley.scheduler.v1.SchedulerService; what the calls do is written in the proto. Thread-safe.
class SchedulerService final
    : public runtime::RawMethods<pb::SchedulerService::Service,
                                 pb::SchedulerService::WithRawCallbackMethod_CreateTask,
                                 pb::SchedulerService::WithRawCallbackMethod_BatchCreateTasks,
                                 pb::SchedulerService::WithRawCallbackMethod_GetTask,
                                 pb::SchedulerService::WithRawCallbackMethod_ListTasks,
                                 pb::SchedulerService::WithRawCallbackMethod_ListDeadTasks,
                                 pb::SchedulerService::WithRawCallbackMethod_CancelTask,
                                 pb::SchedulerService::WithRawCallbackMethod_RescheduleTask,
                                 pb::SchedulerService::WithRawCallbackMethod_RunTaskNow,
                                 pb::SchedulerService::WithRawCallbackMethod_WaitTask,
                                 pb::SchedulerService::WithRawCallbackMethod_RedriveTask,
                                 pb::SchedulerService::WithRawCallbackMethod_RedriveTasks>::type {
 public:
  // All must outlive the service.
  struct Parts {
    db::TaskRepository& tasks;
    db::TaskCreator& creator;
    db::KeyedTaskCreator& keyed_creator;
    Dispatcher& dispatcher;
    EndWatch& end_watch;
    runtime::Executor& executor;
    std::string default_zone;  // a known IANA zone, for local times that name none
    // Called when a task is to be cancelled that a worker has; any thread, must not block.
    std::function<void()> on_cancel_requested = [] {};
  };
  SchedulerService(runtime::CallPipeline& calls, Parts parts)
      : calls_(calls), parts_(std::move(parts)) {}

  using Reactor = grpc::ServerUnaryReactor;
  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  // scheduler_service_create.cc
  Reactor* CreateTask(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* BatchCreateTasks(Context* context, const Bytes* in, Bytes* out) override;
  // scheduler_service_list.cc
  Reactor* ListTasks(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* ListDeadTasks(Context* context, const Bytes* in, Bytes* out) override;
  // scheduler_service.cc
  Reactor* GetTask(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* CancelTask(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* RescheduleTask(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* RunTaskNow(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* WaitTask(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* RedriveTask(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* RedriveTasks(Context* context, const Bytes* in, Bytes* out) override;

 private:
  template <class Reply>
  using Done = std::function<void(absl::StatusOr<Reply>)>;

  void Create(const runtime::Call& call, const pb::CreateTaskRequest& request, Done<pb::Task> done);
  // One with a dedupe key.
  void CreateKeyed(const runtime::Call& call, db::CreateTaskParams params,
                   const Done<pb::Task>& done);
  // Answers with a task that an earlier request created, as it is now.
  void AnswerWithEarlier(const runtime::Call& call, std::int64_t id, const Done<pb::Task>& done);
  void BatchCreate(const runtime::Call& call, const pb::BatchCreateTasksRequest& request,
                   Done<pb::BatchCreateTasksResponse> done);
  // Writes the tasks of a batch through the lane that suits them.
  void Write(const runtime::Call& call, std::vector<db::CreateTaskParams> tasks,
             const std::function<void(db::TaskCreator::Outcomes)>& done);
  db::CreateTaskParams ParamsOf(const pb::CreateTaskRequest& request, Violations& violations) const;

  absl::StatusOr<pb::ListTasksResponse> List(const runtime::Call& call,
                                             const pb::ListTasksRequest& request);
  absl::StatusOr<pb::ListDeadTasksResponse> ListDead(const runtime::Call& call,
                                                     const pb::ListDeadTasksRequest& request);
  // Checks a task's id and runs `change`, a method of the repository, on it.
  absl::StatusOr<pb::Task> Change(
      const runtime::Call& call, std::int64_t task_id,
      const std::function<absl::StatusOr<Task>(absl::Time deadline)>& change);
  absl::StatusOr<pb::Task> Reschedule(const runtime::Call& call,
                                      const pb::RescheduleTaskRequest& request);
  void WaitForEnd(const runtime::Call& call, const pb::WaitTaskRequest& request,
                  const Done<pb::Task>& done);
  absl::StatusOr<pb::RedriveTasksResponse> Redrive(const runtime::Call& call,
                                                   const pb::RedriveTasksRequest& request);
  void TellIfPending(const Task& task);

  runtime::CallPipeline& calls_;
  const Parts parts_;
};

}  // namespace parley::scheduler
