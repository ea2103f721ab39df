// The calls of workers.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>

#include "db/repository/task_repository.h"
#include "parley/scheduler/v1/worker_service.grpc.pb.h"
#include "services/runtime/call.h"
#include "services/scheduler/dispatcher.h"
#include "services/scheduler/task_convert.h"

namespace parley::scheduler {

using WorkerServiceBase =
    runtime::RawMethods<pb::WorkerService::Service,
                        pb::WorkerService::WithRawCallbackMethod_LeaseTasks,
                        pb::WorkerService::WithRawCallbackMethod_AckTask,
                        pb::WorkerService::WithRawCallbackMethod_FailTask,
                        pb::WorkerService::WithRawCallbackMethod_ExtendLease>::type;

// parley.scheduler.v1.WorkerService; what the calls do is written in the proto. Thread-safe.
class WorkerService final : public WorkerServiceBase {
 public:
  // All must outlive the service. `random` returns numbers from 0 up to but not 1, for the jitter
  // of retries, on any thread.
  WorkerService(runtime::CallPipeline& calls, db::TaskRepository& tasks, Dispatcher& dispatcher,
                std::function<double()> random);

  grpc::ServerUnaryReactor* LeaseTasks(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* in, grpc::ByteBuffer* out) override;
  grpc::ServerUnaryReactor* AckTask(grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* in, grpc::ByteBuffer* out) override;
  grpc::ServerUnaryReactor* FailTask(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* in, grpc::ByteBuffer* out) override;
  grpc::ServerUnaryReactor* ExtendLease(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* in, grpc::ByteBuffer* out) override;

 private:
  using LeaseDone = std::function<void(absl::StatusOr<pb::LeaseTasksResponse>)>;

  void Lease(const runtime::Call& call, const pb::LeaseTasksRequest& request, LeaseDone done);
  absl::StatusOr<pb::Task> Fail(const runtime::Call& call, const pb::FailTaskRequest& request);

  runtime::CallPipeline& calls_;
  db::TaskRepository& tasks_;
  Dispatcher& dispatcher_;
  const std::function<double()> random_;
};

}  // namespace parley::scheduler
