// Zones change their rules; what was written with local times follows.
#pragma once

#include <cstdint>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "db/repository/schedule_repository.h"
#include "db/repository/task_repository.h"
#include "services/scheduler/dispatcher.h"

namespace parley::scheduler {

// When a process starts, works out anew, with what it knows of zones, when schedules fire next, and
// when pending tasks are due that were given a local time and have not been tried: in small steps,
// on a thread of its own, beside all else. A step that fails is tried again after a second. Zone
// data is read once in a process's life, so that once is enough. Several processes may do it at the
// same time: if they do not know the same, the last one is right.
//
// Schedules need not wait for it. One that is due works out its firings with what this process
// knows, so it does not fire too early by rules of before; at most too late.
class ZoneFollower {
 public:
  // All must outlive the follower.
  struct Parts {
    db::ScheduleRepository& schedules;
    db::TaskRepository& tasks;
    Dispatcher& dispatcher;
  };
  // Starts the thread.
  explicit ZoneFollower(const Parts& parts);
  ~ZoneFollower();  // ends the thread

  ZoneFollower(const ZoneFollower&) = delete;
  ZoneFollower& operator=(const ZoneFollower&) = delete;

 private:
  void Run();
  // Looks at a few; false: there are no more.
  absl::StatusOr<bool> Step();
  bool Rest();  // false: it is to end
  bool IsStopping();

  const Parts parts_;
  // The thread's own.
  bool schedules_followed_ = false;
  std::int64_t last_id_ = 0;  // up to which schedules, or then tasks, have been looked at
  std::int64_t schedules_moved_ = 0;
  std::int64_t tasks_moved_ = 0;
  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace parley::scheduler
