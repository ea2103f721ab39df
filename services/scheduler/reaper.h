// Moves tasks on that nobody has in hand any more.
#pragma once

#include <cstdint>
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
// after the history's partitions and the counters of queues. Every process has one; they pass over
// what another has its hands on.
class Reaper {
 public:
  struct Parts {
    db::TaskRepository& tasks;
    db::QueueRepository& queues;
    Dispatcher& dispatcher;
  };
  // Starts the thread. All parts must outlive the reaper. Tasks that ended more than `history_days`
  // days ago are forgotten.
  Reaper(const Parts& parts, std::int32_t history_days);
  ~Reaper();  // ends the thread

  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

 private:
  void Run();
  void RescueAll();
  void ExpireAll();
  void UnblockAll();
  void SweepKeys();
  void TendHistory();
  void FoldCounters();

  const Parts parts_;
  const std::int32_t history_days_;
  // The thread's own.
  bool failing_ = false;
  absl::Time history_at_ = absl::InfinitePast();
  absl::Time fold_at_ = absl::InfinitePast();
  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace parley::scheduler
