// The calls of workers.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <utility>

#include "db/repository/task_acker.h"
#include "db/repository/task_repository.h"
#include "parley/scheduler/v1/worker_service.grpc.pb.h"
#include "services/runtime/call.h"
#include "services/runtime/executor.h"
#include "services/scheduler/dispatcher.h"
#include "services/scheduler/task_convert.h"
#include "services/scheduler/work_hub.h"
#include "services/scheduler/work_session.h"

namespace parley::scheduler {

// parley.scheduler.v1.WorkerService; what the calls do is written in the proto. Thread-safe.
class WorkerService final
    : public runtime::RawMethods<pb::WorkerService::Service,
                                 pb::WorkerService::WithRawCallbackMethod_LeaseTasks,
                                 pb::WorkerService::WithRawCallbackMethod_AckTask,
                                 pb::WorkerService::WithRawCallbackMethod_FailTask,
                                 pb::WorkerService::WithRawCallbackMethod_ExtendLease,
                                 pb::WorkerService::WithRawCallbackMethod_ReleaseTask,
                                 pb::WorkerService::WithRawCallbackMethod_Work>::type {
 public:
  WorkerService(runtime::CallPipeline& calls, const WorkerParts& parts, WorkHub& hub)
      : calls_(calls), parts_(parts), hub_(hub) {}

  grpc::ServerUnaryReactor* LeaseTasks(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* in, grpc::ByteBuffer* out) override;
  grpc::ServerUnaryReactor* AckTask(grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* in, grpc::ByteBuffer* out) override;
  grpc::ServerUnaryReactor* FailTask(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* in, grpc::ByteBuffer* out) override;
  grpc::ServerUnaryReactor* ExtendLease(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* in, grpc::ByteBuffer* out) override;
  grpc::ServerUnaryReactor* ReleaseTask(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* in, grpc::ByteBuffer* out) override;
  runtime::BidiReactor* Work(grpc::CallbackServerContext* context) override;

 private:
  using LeaseDone = std::function<void(absl::StatusOr<pb::LeaseTasksResponse>)>;

  void Lease(const runtime::Call& call, const pb::LeaseTasksRequest& request, LeaseDone done);
  void Ack(const runtime::Call& call, const pb::AckTaskRequest& request,
           const std::function<void(absl::StatusOr<pb::Task>)>& done);
  absl::StatusOr<pb::Task> Fail(const runtime::Call& call, const pb::FailTaskRequest& request);
  absl::StatusOr<pb::Task> End(const runtime::Call& call, const AttemptEnd& end);

  runtime::CallPipeline& calls_;
  const WorkerParts parts_;
  WorkHub& hub_;
};

}  // namespace parley::scheduler
