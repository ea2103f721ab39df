// Moves tasks on that nobody has in hand any more.
#pragma once

#include <cstdint>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "db/repository/task_repository.h"
#include "services/scheduler/dispatcher.h"

namespace parley::scheduler {

// Looks every second, on a thread of its own, for leases that have run out and tasks that have
// expired, and every ten minutes after the history's partitions. Every process has one; they pass
// over what another has its hands on.
class Reaper {
 public:
  // Starts the thread. Both must outlive the reaper. Tasks that ended more than `history_days` days
  // ago are forgotten.
  Reaper(db::TaskRepository& tasks, Dispatcher& dispatcher, std::int32_t history_days);
  ~Reaper();  // ends the thread

  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

 private:
  void Run();
  void RescueAll();
  void ExpireAll();
  void TendHistory();

  db::TaskRepository& tasks_;
  Dispatcher& dispatcher_;
  const std::int32_t history_days_;
  // The thread's own.
  bool failing_ = false;
  absl::Time history_at_ = absl::InfinitePast();
  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace parley::scheduler
