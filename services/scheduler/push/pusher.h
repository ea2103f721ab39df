// What hands the tasks of a queue to a target: a worker inside the server.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "db/repository/push_repository.h"
#include "db/repository/task_acker.h"
#include "db/repository/task_repository.h"
#include "services/scheduler/dispatcher.h"
#include "services/scheduler/end_watch.h"

namespace parley::scheduler {

// What pushers need. All must outlive them.
struct PushParts {
  db::TaskRepository& tasks;
  db::PushRepository& pushes;
  db::TaskAcker& acker;
  Dispatcher& dispatcher;
  EndWatch& end_watch;
};

// Takes leases of its queue from the dispatcher, as a worker would, and pushes. Any number of
// processes may do so side by side. While its target cannot be reached, it takes none, gives back
// what it has not pushed, and tries again after a growing pause: tasks stay pending.
class Pusher {
 public:
  virtual ~Pusher() = default;

  // Takes no more leases; what is under way may finish until `finish_by`. Does not block. If it is
  // called twice, the earlier time holds. The destructor waits until that is done; without a Stop
  // before it, nothing is waited for.
  virtual void Stop(absl::Time finish_by) = 0;
  // Whether one that was stopped has finished.
  virtual bool HasFinished() = 0;
};

// Ends the pauses of threads that are to end. Thread-safe.
class StopSignal {
 public:
  void Stop() {
    MutexLock lock(mutex_);
    stopped_ = true;
    wake_.NotifyAll();
  }

  bool stopped() {
    MutexLock lock(mutex_);
    return stopped_;
  }

  // Returns after `duration`, or as soon as it is stopped: then with false.
  bool SleepFor(absl::Duration duration) {
    const absl::Time until = SteadyNow() + duration;
    MutexLock lock(mutex_);
    while (!stopped_ && SteadyNow() < until) wake_.WaitUntil(mutex_, until);
    return !stopped_;
  }

 private:
  Mutex mutex_;
  CondVar wake_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace parley::scheduler
