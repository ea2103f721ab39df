// Makes schedules fire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "db/repository/schedule_repository.h"
#include "services/scheduler/dispatcher.h"

namespace parley::scheduler {

// Sleeps, on a thread of its own, until the next schedule fires by the database's clock, and makes
// its firing. Every process has one, and all do the same: a schedule's row is locked while it moves
// on, so that each firing is made once. It looks once a second besides, for what it has not heard
// of: schedules that other processes have changed, and tasks that have ended elsewhere, if a firing
// waits for that. (Who changes a schedule makes it fire in time itself; only its death leaves it to
// the others' looks.)
//
// Schedules that are due go together, as far as a small transaction has room for what they make. If
// it fails, half as many are tried, until the one at fault is alone. That one rests for half a
// minute, or until somebody here changes a schedule, and keeps no other from firing. If it took too
// long, all may be slow, and the next try comes after a second.
//
// While the database is away it tries again every second.
class Ticker {
 public:
  static constexpr absl::Duration kLookInterval = absl::Seconds(1);
  static constexpr std::size_t kMostAtOnce = 300;  // schedules of a transaction

  // All must outlive the ticker.
  struct Parts {
    db::ScheduleRepository& schedules;
    Dispatcher& dispatcher;
    absl::Duration look_interval = kLookInterval;
  };
  // Starts the thread.
  explicit Ticker(Parts parts);
  ~Ticker();  // ends the thread

  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

  // This process has changed a schedule, committed. Any thread.
  void Hint();
  // Tasks have ended in this process, committed: a firing that waits for one of them happens now,
  // or within milliseconds if there are many. Cheap if none waits. Any thread.
  void TasksEnded();

 private:
  void Run();
  // Does what there is to do; returns when there may be more.
  absl::Time Tick();
  // Makes what is due; false if there is nothing left that this process could do.
  absl::StatusOr<bool> Fire();
  // After those that were `tried` together have failed: fewer next time, or rest for the only one.
  // OK if that may help at once.
  absl::Status GiveWay(const std::vector<std::int64_t>& tried, const absl::Status& status);
  void LetRest(std::int64_t schedule_id, absl::string_view why);
  std::vector<std::int64_t> Resting() const;
  bool IsStopping();
  void NoteOutcome(const absl::Status& status);

  const Parts parts_;
  // The thread's own.
  absl::BitGen random_;
  bool failing_ = false;
  std::size_t at_once_ = kMostAtOnce;
  // Schedules that could not fire when they were last tried, and until when they rest.
  std::map<std::int64_t, absl::Time> resting_;
  Mutex mutex_;
  CondVar wake_;
  bool hinted_ ABSL_GUARDED_BY(mutex_) = false;
  bool buffering_ ABSL_GUARDED_BY(mutex_) = false;  // a firing waits for the end of a task
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;      // a task has, meanwhile
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace parley::scheduler
