// Hands due tasks to workers, to those who wait for one too.
#pragma once

#include <cstddef>
#include <list>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/histogram.h"
#include "base/mutex.h"
#include "db/repository/task_claimer.h"
#include "db/repository/task_repository.h"
#include "services/scheduler/delivery.h"
#include "services/scheduler/waiting_room.h"

namespace parley::scheduler {

// A call for tasks that finds none is parked: it costs memory, but no thread. One thread sleeps
// until the earliest instant at which a task of a waited-for queue is due, claims for the call that
// has waited longest, in one statement with others who want the same, and sleeps again. Queues that
// limit what runs are claimed from one by one, in any order; while a limit is reached they are as
// if they were empty. It learns of new instants from
//   TaskReady   this process has put a task into a queue
//   QueueChanged  a queue's settings are others, or more of it may run
//   Hint        another one has (LISTEN)
//   a look      at all waited-for queues every second, for hints that were lost
// so no polling delay lies between a task's time and its delivery, and nothing is asked about
// queues that nobody waits for.
//
// While the database is away, parked calls stay; attempts are spaced by a growing pause. A call
// whose wait ends meanwhile gets the error.
//
// Thread-safe.
class Dispatcher {
 public:
  static constexpr absl::Duration kLookInterval = absl::Seconds(1);

  // Starts the thread, which claims through `claimer`. `tasks` must outlive the dispatcher.
  Dispatcher(db::TaskRepository& tasks, db::TaskClaimer claimer,
             absl::Duration look_interval = kLookInterval);
  ~Dispatcher();  // Drain(), then ends the thread

  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  // Hands tasks to the demand, at once if some are due, until its time to give up. Does not block.
  // RESOURCE_EXHAUSTED if 5000 are parked already.
  void Lease(LeaseDemand demand);

  // This process has put a task into `queue`, committed, that is due in `due_in`. Wakes who waits
  // here, and who waits elsewhere by a notification that is sent later: at most one transaction in
  // 20 ms, however many tasks there were.
  void TaskReady(absl::string_view queue, absl::Duration due_in);

  // The same for tasks whose attempts have ended, as far as they are to be tried again.
  void TasksMoved(const std::vector<db::TaskRepository::Moved>& moved);

  // The settings of `queue` have changed, committed by this process, or more of it may run. Wakes
  // as TaskReady does.
  void QueueChanged(absl::string_view queue);

  // A task of `queue` has ended: if that limits what runs, as far as is known here, others may run
  // in its place.
  void TaskEnded(absl::string_view queue);

  // Something may have changed in `queue`; in any queue if it is empty.
  void Hint(absl::string_view queue);

  // How many calls are parked.
  std::size_t parked() ABSL_LOCKS_EXCLUDED(mutex_);
  // How long after its time each task was leased, in seconds, by the database's clock. What a pause
  // or a limit has kept back counts too.
  const Histogram& task_lateness() const { return task_lateness_; }

  // Answers all parked calls, and all to come, with nothing, and that this is why. Idempotent.
  void Drain();

 private:
  using Waiter = WaitingRoom::Waiter;

  // What the thread does next: taken under the lock, done without it.
  struct Round {
    bool stop = false;
    bool draining = false;
    absl::Status outage;      // what those get who give up
    std::list<Waiter> ended;  // callers that have left, or have waited long enough
    WaitingRoom::Turn turn;
    std::vector<std::string> notify;
    std::vector<WaitingRoom::Question> questions;
  };

  void Run();
  Round NextRound() ABSL_LOCKS_EXCLUDED(mutex_);
  // False if there is nothing to do at `now`.
  bool FillRound(absl::Time now, Round& round) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Time NextWake() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Claims for all whose turn it is.
  void Serve(WaitingRoom::Turn turn);
  // What one claim claims from: a queue that limits what runs, or any that do not.
  struct Source {
    std::vector<std::string> queues;
    bool limited = false;
  };
  // Claims for the waiters, and hands out what there is. False: there was nothing.
  absl::StatusOr<bool> ClaimFrom(const Source& source, std::list<Waiter>& waiters);
  void Ask(const std::vector<WaitingRoom::Question>& questions);
  // Answers who gets something, and who has left; the others stay in the list.
  void HandOut(std::list<Waiter>& waiters, std::vector<Task> tasks, const std::string& token,
               absl::Duration lease_left);
  void Release(const std::vector<Task>& tasks, const std::string& token);
  void NoteOutcome(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  db::TaskRepository& tasks_;
  const absl::Duration look_interval_;
  // The thread's own.
  db::TaskClaimer claimer_;
  absl::BitGen order_;
  Histogram task_lateness_{{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
                            30, 60, 300, 1800, 7200}};
  Mutex mutex_;
  CondVar wake_;
  absl::BitGen random_ ABSL_GUARDED_BY(mutex_);
  WaitingRoom room_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> to_notify_ ABSL_GUARDED_BY(mutex_);
  absl::Time notify_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();   // not earlier
  absl::Time look_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();     // at all queues
  absl::Status outage_ ABSL_GUARDED_BY(mutex_);                           // OK: there is none
  absl::Duration pause_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();   // before the next attempt
  absl::Time attempt_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();  // not earlier
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  Delivery delivery_;   // whom it answers may ask again: before what that needs is gone
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace parley::scheduler
