// Moves tasks on that nobody has in hand any more.
#pragma once

#include <cstdint>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "db/repository/queue_repository.h"
#include "db/repository/task_repository.h"
#include "services/scheduler/dispatcher.h"

namespace parley::scheduler {

// Looks every second, on a thread of its own, for leases that have run out, tasks that have expired
// or are blocked for nothing, and dedupe keys that nobody needs any more, and every ten minutes
// after the history's partitions, the counters of queues, and tasks that have been dead for too
// long. Every process has one; they pass over what another has its hands on.
class Reaper {
 public:
  struct Parts {
    db::TaskRepository& tasks;
    db::QueueRepository& queues;
    Dispatcher& dispatcher;
  };
  // For how long tasks that have ended are kept.
  struct Keep {
    std::int32_t history_days = 14;
    std::int32_t dead_days = 0;  // dead ones; 0: until they are purged
  };
  // Starts the thread. All parts must outlive the reaper.
  Reaper(const Parts& parts, const Keep& keep);
  ~Reaper();  // ends the thread

  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

 private:
  void Run();
  // Does `step` until it has little left to do, but not for longer than a second: the other kinds
  // of work are not to wait for one that there is much of. Whether there may be much left.
  bool Repeat(const std::function<bool()>& step);
  // Steps: whether there may be much left.
  bool Rescue();
  bool Expire();
  bool Unblock();
  bool SweepKeys();
  void TendHistory();
  void DropDead();
  void FoldCounters();
  bool IsStopping();

  const Parts parts_;
  const Keep keep_;
  // The thread's own.
  bool failing_ = false;
  absl::Time history_at_ = absl::InfinitePast();
  absl::Time fold_at_ = absl::InfinitePast();
  absl::Time dead_at_ = absl::InfinitePast();
  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace parley::scheduler
