// Looks after the tasks of a queue that are with one Celery, or should be.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "db/model/task.h"
#include "services/scheduler/push/attempt_settler.h"
#include "services/scheduler/push/celery_parts.h"
#include "services/scheduler/push/pusher.h"

namespace parley::scheduler {

// Every process has one for each place with a ledger that a queue's tasks are handed over to, or
// were before the queue got another target, and each looks after the tasks of all processes: so it
// does not matter which of them has claimed a task, nor whether it still lives. Whoever comes first
// ends an attempt; for the others its lease is lost. Of tasks that were claimed for another place
// its ledger knows nothing, and it leaves them alone.
//
//   claimed a while ago, not in the ledger   withdrawn and released: whoever claimed it has died
//   in the ledger, nothing to track          succeeded
//   in the ledger, its result is there       succeeded with the result, or failed
//   in the ledger, no result in time         failed
//   cancel_requested                         workers are told not to begin it
//
// One thread, which looks into the database every second, and for results ten times a second.
class HandoffKeeper {
 public:
  // Starts the thread. `parts` must outlive the keeper.
  HandoffKeeper(const PushParts& parts, CeleryQueue queue);
  ~HandoffKeeper();  // Stop(), then ends the thread

  HandoffKeeper(const HandoffKeeper&) = delete;
  HandoffKeeper& operator=(const HandoffKeeper&) = delete;

  // Handed over by this process: their results may come before the next look into the database.
  // Thread-safe.
  void Track(std::vector<db::PushedTask> tasks) ABSL_LOCKS_EXCLUDED(mutex_);

  // Since when there has been nothing to look after; absl::InfiniteFuture() if there is something,
  // or it is not known. Thread-safe.
  absl::Time IdleSince() ABSL_LOCKS_EXCLUDED(mutex_);

  // There may be something by the next look: who has handed over is only now done with it.
  // Thread-safe.
  void NoteBusy() { NoteIdle(absl::InfiniteFuture()); }

  // Does not block. Thread-safe.
  void Stop() { stop_.Stop(); }

 private:
  // A task that is with Celery, as far as the ledger tells, and is to give a result.
  struct Tracked {
    db::PushedTask task;
    std::string celery_id;
    absl::Time revoked_at = absl::InfinitePast();  // when workers were last told
  };

  void Run();
  void Look();
  void NoteIdle(absl::Time since) ABSL_LOCKS_EXCLUDED(mutex_);
  // Of tasks that were claimed long enough ago: which are with Celery. Releases the others.
  std::vector<db::PushedTask> SortOut(const std::vector<db::PushedTask>& old);
  void Acknowledge(const std::vector<db::PushedTask>& tasks);
  void FollowTracked(const std::vector<db::PushedTask>& running);
  void EndOverdue();
  void Revoke();
  void ReadResults();
  // Adds to one of both what `result` makes of a task; to none if it is to be waited for.
  static void Judge(const db::PushedTask& task, const celery::CeleryResult& result,
                    std::vector<db::TaskAck>& acks, std::vector<AttemptEnd>& ends);
  void Settle(const std::vector<db::TaskAck>& acks, const std::vector<AttemptEnd>& ends);
  void Remember(db::PushedTask task);
  void TakeNew() ABSL_LOCKS_EXCLUDED(mutex_);

  const PushParts parts_;
  const CeleryQueue queue_;
  const db::HandoffPlace place_;
  StopSignal stop_;
  AttemptSettler settler_;
  // The thread's own.
  CeleryParts celery_;
  std::map<std::int64_t, Tracked> tracked_;  // by task
  Mutex mutex_;
  std::vector<db::PushedTask> new_ ABSL_GUARDED_BY(mutex_);
  absl::Time idle_since_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace parley::scheduler
