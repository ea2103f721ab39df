// Takes tasks back from workers that are gone.
#pragma once

#include <thread>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "db/repository/task_repository.h"
#include "services/scheduler/dispatcher.h"

namespace parley::scheduler {

// Looks every second, on a thread of its own, for leases that have run out. Every process has one;
// they pass over what another has its hands on.
class Reaper {
 public:
  // Starts the thread. Both must outlive the reaper.
  Reaper(db::TaskRepository& tasks, Dispatcher& dispatcher);
  ~Reaper();  // ends the thread

  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

 private:
  void Run();
  void RescueAll();

  db::TaskRepository& tasks_;
  Dispatcher& dispatcher_;
  bool failing_ = false;  // the thread's own
  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace parley::scheduler
