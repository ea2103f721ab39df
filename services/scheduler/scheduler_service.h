// The calls of producers and operators.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>

#include "db/repository/task_repository.h"
#include "parley/scheduler/v1/scheduler_service.grpc.pb.h"
#include "services/runtime/call.h"
#include "services/scheduler/dispatcher.h"
#include "services/scheduler/task_convert.h"

namespace parley::scheduler {

using SchedulerServiceBase =
    runtime::RawMethods<pb::SchedulerService::Service,
                        pb::SchedulerService::WithRawCallbackMethod_CreateTask,
                        pb::SchedulerService::WithRawCallbackMethod_GetTask,
                        pb::SchedulerService::WithRawCallbackMethod_ListTasks,
                        pb::SchedulerService::WithRawCallbackMethod_CancelTask>::type;

// parley.scheduler.v1.SchedulerService; what the calls do is written in the proto. Thread-safe.
class SchedulerService final : public SchedulerServiceBase {
 public:
  // All must outlive the service. `default_zone` is a known IANA zone.
  SchedulerService(runtime::CallPipeline& calls, db::TaskRepository& tasks, Dispatcher& dispatcher,
                   std::string default_zone);

  grpc::ServerUnaryReactor* CreateTask(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* in, grpc::ByteBuffer* out) override;
  grpc::ServerUnaryReactor* GetTask(grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* in, grpc::ByteBuffer* out) override;
  grpc::ServerUnaryReactor* ListTasks(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* in, grpc::ByteBuffer* out) override;
  grpc::ServerUnaryReactor* CancelTask(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* in, grpc::ByteBuffer* out) override;

 private:
  absl::StatusOr<pb::Task> Create(const runtime::Call& call, const pb::CreateTaskRequest& request);
  absl::StatusOr<pb::ListTasksResponse> List(const runtime::Call& call,
                                             const pb::ListTasksRequest& request);

  runtime::CallPipeline& calls_;
  db::TaskRepository& tasks_;
  Dispatcher& dispatcher_;
  const std::string default_zone_;
};

}  // namespace parley::scheduler
