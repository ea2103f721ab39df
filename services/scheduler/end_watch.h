// Calls that wait for tasks to end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "db/model/task.h"
#include "db/repository/task_repository.h"

namespace parley::scheduler {

// A call whose task has not ended is parked: it costs memory, but neither a thread nor a
// connection. One thread asks the database, about ten times a second and once for all of them,
// which of their tasks are still live, and reads those that are not, once each. Whoever ends tasks
// in this process says so (TasksEnded), and they are looked at at once. If nobody waits, nobody
// asks.
//
// While the database is away, parked calls stay; one whose wait ends meanwhile gets the error.
//
// Thread-safe.
class EndWatch {
 public:
  static constexpr absl::Duration kLookInterval = absl::Milliseconds(100);

  struct Options {
    absl::Duration look_interval = kLookInterval;  // about
    // Called by TasksEnded, for whoever else wants to know. Must not block. Any thread.
    std::function<void()> on_ended;
  };
  // Starts the thread, which asks about all tasks. `tasks` must outlive the watch.
  EndWatch(db::TaskRepository& tasks, Options options);
  ~EndWatch();  // Drain(), then ends the thread

  EndWatch(const EndWatch&) = delete;
  EndWatch& operator=(const EndWatch&) = delete;

  struct Wait {
    std::int64_t task_id = 0;
    absl::Time give_up;                              // answered then, with the task as it is
    std::function<absl::Status()> check_alive;       // not OK: the caller has left
    std::function<void(absl::StatusOr<Task>)> done;  // called once, on any thread
  };
  // Answers once the task has ended, or when the wait is over. Does not block.
  // NOT_FOUND, reason TASK_NOT_FOUND. RESOURCE_EXHAUSTED if 5000 wait already.
  void Enter(Wait wait);

  // These tasks may have ended, committed. Cheap for those that nobody waits for.
  void TasksEnded(const std::vector<std::int64_t>& ids);

  // Answers all who wait, and all to come, with their tasks as they are. Idempotent.
  void Drain();

 private:
  // What the thread does next: taken under the lock, done without it.
  struct Round {
    bool stop = false;
    bool look = false;                // it is one at all tasks
    std::vector<std::int64_t> asked;  // whether they are live
    std::vector<std::int64_t> late;   // somebody is to be answered, whatever they are
    std::vector<Wait> left;           // their callers have
  };

  void Run();
  Round NextRound() ABSL_LOCKS_EXCLUDED(mutex_);
  // False if there is nothing to do at `now`.
  bool FillRound(absl::Time now, Round& round) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Time NextWake() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeLeft(std::vector<Wait>& left) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Status Look(const Round& round);
  // Reads tasks and answers those who wait for them, if they have ended or the wait is over.
  absl::Status Answer(const std::vector<std::int64_t>& ids);
  void FailLate(const std::vector<std::int64_t>& ids, const absl::Status& status);
  // Those of a task's waits that are to be answered now; `all`, or those whose time has come.
  enum class Which { kAll, kLate };
  std::vector<Wait> Take(std::int64_t task_id, Which which) ABSL_LOCKS_EXCLUDED(mutex_);
  void PlanNextLook(const Round& round, const absl::Status& status, absl::Duration took)
      ABSL_LOCKS_EXCLUDED(mutex_);

  db::TaskRepository& tasks_;
  const Options options_;
  absl::BitGen random_;  // the thread's own
  Mutex mutex_;
  CondVar wake_;
  std::map<std::int64_t, std::vector<Wait>> waits_ ABSL_GUARDED_BY(mutex_);  // by task
  std::size_t waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<std::int64_t> fresh_ ABSL_GUARDED_BY(mutex_);               // tasks to be looked at now
  absl::Time look_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();  // at all tasks
  absl::Time ask_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();   // anything, not earlier
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace parley::scheduler
