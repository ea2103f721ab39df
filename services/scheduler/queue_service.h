// The calls on queues.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/repository/queue_repository.h"
#include "parley/scheduler/v1/queue_service.grpc.pb.h"
#include "services/runtime/call.h"
#include "services/scheduler/dispatcher.h"
#include "services/scheduler/push/push_targets.h"
#include "services/scheduler/queue_convert.h"

namespace parley::scheduler {

// parley.scheduler.v1.QueueService; what the calls do is written in the proto. Thread-safe.
class QueueService final
    : public runtime::RawMethods<pb::QueueService::Service,
                                 pb::QueueService::WithRawCallbackMethod_CreateQueue,
                                 pb::QueueService::WithRawCallbackMethod_GetQueue,
                                 pb::QueueService::WithRawCallbackMethod_ListQueues,
                                 pb::QueueService::WithRawCallbackMethod_UpdateQueue,
                                 pb::QueueService::WithRawCallbackMethod_PauseQueue,
                                 pb::QueueService::WithRawCallbackMethod_ResumeQueue,
                                 pb::QueueService::WithRawCallbackMethod_PurgeQueue,
                                 pb::QueueService::WithRawCallbackMethod_GetQueueStats>::type {
 public:
  // What the service needs. All must outlive it.
  struct Parts {
    db::QueueRepository& queues;
    Dispatcher& dispatcher;
    PushTargets targets;                      // what queues may be pushed to
    std::function<void()> on_change = [] {};  // settings of a queue may have changed
  };
  QueueService(runtime::CallPipeline& calls, Parts parts)
      : calls_(calls), parts_(std::move(parts)) {}

  using Reactor = grpc::ServerUnaryReactor;
  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  Reactor* CreateQueue(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* GetQueue(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* ListQueues(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* UpdateQueue(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* PauseQueue(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* ResumeQueue(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* PurgeQueue(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* GetQueueStats(Context* context, const Bytes* in, Bytes* out) override;

 private:
  absl::StatusOr<pb::Queue> Create(const runtime::Call& call,
                                   const pb::CreateQueueRequest& request);
  absl::StatusOr<pb::ListQueuesResponse> List(const runtime::Call& call,
                                              const pb::ListQueuesRequest& request);
  absl::StatusOr<pb::Queue> Update(const runtime::Call& call,
                                   const pb::UpdateQueueRequest& request);
  absl::StatusOr<pb::PurgeQueueResponse> Purge(const runtime::Call& call,
                                               const pb::PurgeQueueRequest& request);
  // Whether this server could push to the target that a queue is to get.
  void CheckTarget(const pb::QueueTarget& wanted, const QueueSettings& settings,
                   Violations& violations) const;
  // Tells who waits for tasks of the queue, if it has changed.
  absl::StatusOr<pb::Queue> Changed(const absl::StatusOr<Queue>& queue);

  runtime::CallPipeline& calls_;
  const Parts parts_;
};

}  // namespace parley::scheduler
