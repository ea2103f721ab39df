// The hot lane for writes: many callers' writes merged into one transaction, and one commit.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "db/core/dsn.h"
#include "db/core/hot_connection.h"
#include "db/core/lane.h"

namespace parley::db {

// One caller's write. Ends with Fail, or with what Merger::Answer makes of it.
struct MergeOp {
  virtual ~MergeOp() = default;
  virtual void Fail(const absl::Status& status) = 0;
  // Whether nobody waits for it any more; what is abandoned in the queue is not written.
  virtual bool IsAbandoned() const { return false; }
  // It was sent, and whether it was committed is not known. Leaves in it what finds what it wrote
  // if it is written again (a request id); the rest is the caller's to be told of. False: nothing
  // is left.
  virtual bool KeepRepeatable() { return false; }

  std::vector<std::int64_t>
      keys;                // what it locks, ascending; writes that share a key keep their order
  std::size_t weight = 1;  // rows; bounds the batch
  absl::Time deadline;
  bool in_doubt = false;  // the lane's: it was sent, and the answer was lost
};

// Many writes as one transaction.
struct MergedWrites {
  std::vector<HotStep> steps;
  // Tells each write's caller what became of it. Called once, after the commit, with as many
  // results as there are steps, while the writes are still there. Must not block.
  std::function<void(const std::vector<HotResult>& results)> answer;
};

// Makes one transaction of many writes. What it cannot do for one of them is that one's answer; an
// error fails the transaction, and is for what nobody expects. Called by one thread at a time.
class Merger {
 public:
  virtual ~Merger() = default;
  // `now_or_never`: locks that are taken must not be waited for (SQLSTATE 55P03).
  virtual MergedWrites Merge(const std::vector<MergeOp*>& ops, bool now_or_never) = 0;
};

// One connection and one thread. Gathers while a batch is in flight; whoever comes to an idle lane
// waits for nobody. If more writes wait when a batch is committed, they are sent first and the
// batch is answered while the server works on them.
//   40001, 40P01          the batch is run again
//   a lock not obtained   the batch is halved, its locks no longer waited for; the writes that want
//                         it are set aside and tried alone until their deadline, and those behind
//                         them on the same keys wait with them; all others go on
//   any other error       the batch is halved until the write at fault is alone
//   connection lost       before the commit was sent: run again, once. After it: what is repeatable
//                         (KeepRepeatable) is run again, once, and finds what it wrote, if it did;
//                         the rest, and what cannot be asked again, ends in doubt (transaction.h).
//                         A server that is silent for a second after the deadline counts as lost
//
// Thread-safe.
class MergeLane {
 public:
  struct Options {
    std::size_t queue = 1000;  // rows that may wait
    std::size_t batch = 128;   // rows that go together; one write may have more
    absl::Duration lock_timeout = absl::Milliseconds(100);
  };

  MergeLane(Dsn dsn, Options options, std::unique_ptr<Merger> merger);
  ~MergeLane();  // what waits is answered with UNAVAILABLE

  MergeLane(const MergeLane&) = delete;
  MergeLane& operator=(const MergeLane&) = delete;

  // Takes the write, or fails it at once with RESOURCE_EXHAUSTED. Statuses besides: UNAVAILABLE,
  // DEADLINE_EXCEEDED (nothing was written), ABORTED (locked by others until the deadline),
  // UNKNOWN.
  void Submit(std::unique_ptr<MergeOp> op);

  LaneView view();

 private:
  using Ops = std::vector<std::unique_ptr<MergeOp>>;
  struct Attempt {
    absl::Status status;
    bool sent = false;  // and not refused, so possibly committed
  };

  void RunThread();
  bool Gather(Ops& batch) ABSL_LOCKS_EXCLUDED(mutex_);  // false: the lane is to end
  // Runs until each write is committed, answered or parked.
  void RunBatch(Ops batch, bool now_or_never = false);
  // Takes the batch once it is committed.
  Attempt TryBatch(Ops& batch, bool now_or_never);
  bool QueueIsEmpty() ABSL_LOCKS_EXCLUDED(mutex_);
  void AnswerCommitted();
  absl::Status Connect();
  // The three ways in which writes leave a batch early.
  static void FailExpired(Ops& batch);
  static void FailLost(Ops& batch, const Attempt& attempt);  // keeps what can be asked again
  void ParkBehindParked(Ops& batch);
  void Park(std::unique_ptr<MergeOp> op) ABSL_LOCKS_EXCLUDED(mutex_);
  void TryParked();
  void PauseBeforeRetry();

  const Dsn dsn_;
  const Options options_;
  const std::unique_ptr<Merger> merger_;
  // A batch that is committed and not answered yet.
  struct Committed {
    Ops ops;
    MergedWrites writes;
    std::vector<HotResult> results;
  };

  // The thread's own.
  std::unique_ptr<HotConnection> connection_;
  std::optional<Committed> committed_;
  Ops parked_;  // in the order of their arrival
  absl::Time try_parked_at_ = absl::InfiniteFuture();
  absl::BitGen random_;

  Histogram batch_sizes_{BatchSizeBounds()};
  Mutex mutex_;
  CondVar ready_;
  std::deque<std::unique_ptr<MergeOp>> queue_ ABSL_GUARDED_BY(mutex_);
  std::size_t waiting_ ABSL_GUARDED_BY(mutex_) = 0;  // rows, queued or parked
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace parley::db
