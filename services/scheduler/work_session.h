// A worker on a Work stream.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "db/repository/task_acker.h"
#include "db/repository/task_repository.h"
#include "services/runtime/executor.h"
#include "services/runtime/stream.h"
#include "services/scheduler/dispatcher.h"
#include "services/scheduler/end_watch.h"
#include "services/scheduler/task_convert.h"

namespace parley::scheduler {

// What workers' calls need. All must outlive them.
struct WorkerParts {
  db::TaskRepository& tasks;
  db::TaskAcker& acker;
  Dispatcher& dispatcher;
  EndWatch& end_watch;
  runtime::Executor& executor;
};

// Keeps one demand with the dispatcher while the worker has credit, and at most one frame of leases
// that the worker has not taken yet: a worker that does not read gets no more. What it tells goes
// to the ack lane and to the executor; it is read on as long as not too much of that is unanswered.
//
// Lives as long as its stream, and whatever of it is still under way. Thread-safe.
class WorkSession : public std::enable_shared_from_this<WorkSession> {
 public:
  // What a session tells its hub, on any thread.
  struct Hub {
    std::function<void(WorkSession*)> on_over;  // once, when the stream is over
    // These attempts are to be ended, for which nobody waits any more.
    std::function<void(const std::vector<AttemptEnd>&)> end_later;
  };
  WorkSession(std::shared_ptr<runtime::DuplexStream> stream, const WorkerParts& parts, Hub hub);

  // Begins to read. Once.
  void Begin();

  // Wants leases if there is credit and nobody was asked yet.
  void Ask() ABSL_LOCKS_EXCLUDED(mutex_);

  // No more leases; tells the worker to finish. Idempotent.
  void Drain();

  // The leases that the worker has in hand: task ids and tokens.
  using Tokens = absl::flat_hash_map<std::int64_t, std::string>;  // by task
  Tokens Held();
  // What the database says of those of Held(): their tokens now, and which are to be cancelled.
  // Tells the worker what it has lost, and, once, what to cancel.
  void Compare(const Tokens& asked,
               const std::map<std::int64_t, db::TaskRepository::RunningTask>& running);

 private:
  using Extension = db::TaskRepository::Extension;
  // For what a stream has been told; it has no deadline of its own.
  static constexpr absl::Duration kPatience = absl::Seconds(10);

  void OnFrame(const grpc::ByteBuffer* frame);
  absl::Status Accept(const grpc::ByteBuffer& frame, pb::WorkRequest& request);
  // Reads the next frame if the worker can be told what becomes of it.
  void ReadOn() ABSL_LOCKS_EXCLUDED(mutex_);
  // The worker says no more: `release` tells whether what it has left is to be released.
  void OnLeave(bool release);
  void Leave();
  void OnOver();

  void OnLeased(absl::StatusOr<LeasedTasks> leased);
  void GiveBack(const LeasedTasks& leased);

  void Ack(const pb::WorkRequest& request);
  void OnAcked(const std::vector<LeaseKey>& leases, const absl::StatusOr<std::vector<bool>>& held);
  void EndAttempts(const pb::WorkRequest& request);
  void OnAttemptsEnded(const std::vector<AttemptEnd>& ends);
  void Extend(const pb::WorkRequest& request);
  void OnExtended(const std::vector<Extension>& extensions);

  // Runs `work`, an answer to what was told, on the executor; `refuse` if its queue is full.
  void Later(std::function<void()> work, const std::function<void(const absl::Status&)>& refuse);
  // The worker has told of a lease: until it is answered, it is not held.
  void Told(const LeaseKey& lease) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // It could not be done; the lease is held on if it is not lost.
  void NotDone(const LeaseKey& lease, const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsGone() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return over_ || leaving_; }
  // One of the answers that were under way is there.
  void Answered() ABSL_LOCKS_EXCLUDED(mutex_);
  // Sends what is there to be sent, if there is room.
  void Flush() ABSL_LOCKS_EXCLUDED(mutex_);

  const std::shared_ptr<runtime::DuplexStream> stream_;
  const WorkerParts parts_;
  const Hub hub_;
  Mutex mutex_;
  bool greeted_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::string> queues_ ABSL_GUARDED_BY(mutex_);
  absl::Duration lease_duration_ ABSL_GUARDED_BY(mutex_) = kDefaultLease;
  std::int64_t credit_ ABSL_GUARDED_BY(mutex_) = 0;
  bool asking_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool leaving_ ABSL_GUARDED_BY(mutex_) = false;  // the worker
  bool release_ ABSL_GUARDED_BY(mutex_) = false;  // what it has left
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;  // once all is sent
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  int unanswered_ ABSL_GUARDED_BY(mutex_) = 0;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  Tokens held_ ABSL_GUARDED_BY(mutex_);
  std::set<std::int64_t> told_to_cancel_ ABSL_GUARDED_BY(mutex_);
  pb::WorkResponse out_ ABSL_GUARDED_BY(mutex_);  // what is to be sent
  bool sending_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace parley::scheduler
