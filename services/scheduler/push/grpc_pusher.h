// Pushes the tasks of a queue to a TaskHandler.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "parley/scheduler/v1/task_handler.grpc.pb.h"
#include "services/scheduler/push/attempt_settler.h"
#include "services/scheduler/push/lease_inbox.h"
#include "services/scheduler/push/outage.h"
#include "services/scheduler/push/pusher.h"
#include "services/scheduler/task_convert.h"

namespace parley::scheduler {

// A queue that is pushed to a TaskHandler.
struct HandlerQueue {
  std::string queue;
  std::string target;  // its name
  GrpcDelivery delivery;
  std::string address;
};

// Calls are asynchronous; one thread claims, keeps the leases of what is being handled, cancels
// what has lost its lease or is not wanted any more, and writes down how calls have ended. It takes
// tasks only while there is a connection.
class GrpcPusher final : public Pusher {
 public:
  // Starts the thread. `parts` must outlive the pusher.
  GrpcPusher(const PushParts& parts, HandlerQueue queue);
  ~GrpcPusher() override;

  void Stop(absl::Time finish_by) override ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasFinished() override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // A call under way. gRPC uses it until it is over.
  struct Call {
    grpc::ClientContext context;
    pb::HandleRequest request;
    pb::HandleResponse response;
    grpc::Status status;
    LeaseKey lease;
    bool given_up = false;  // cancelled by the stop: as if it had not begun
  };

  void Run();
  bool IsConnected() const;
  // What to do next: asks for tasks, or does not. Returns how long nothing else has to be done.
  absl::Duration Ask() ABSL_LOCKS_EXCLUDED(mutex_);
  void Begin(const LeasedTasks& leased);
  void Release(const LeasedTasks& leased);
  // Keeps leases, and cancels calls for what is lost or not wanted.
  void Tend();
  void CancelAll();
  // Writes down how calls have ended.
  void Conclude() ABSL_LOCKS_EXCLUDED(mutex_);
  void OnOver(Call* call) ABSL_LOCKS_EXCLUDED(mutex_);

  const PushParts parts_;
  const HandlerQueue queue_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<pb::TaskHandler::Stub> stub_;
  StopSignal stop_;
  AttemptSettler settler_;
  LeaseInbox inbox_;
  // The thread's own.
  Outage outage_;
  std::map<Call*, std::unique_ptr<Call>> calls_;
  absl::Time tend_at_ = absl::InfinitePast();
  absl::Time extend_at_ = absl::InfinitePast();
  Mutex mutex_;
  std::vector<Call*> over_ ABSL_GUARDED_BY(mutex_);
  absl::Time finish_by_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace parley::scheduler
