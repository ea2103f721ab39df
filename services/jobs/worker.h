// Works on the suite's own tasks inside a service.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "db/core/dsn.h"
#include "db/core/listener.h"
#include "db/model/task.h"
#include "db/repository/task_claimer.h"
#include "db/repository/task_repository.h"

namespace parley::jobs {

// A task in the hands of a handler.
struct Job {
  Task task;
  LeaseKey lease;
  // Until when nobody else gets the task, by this process's clock, if the lease is not extended:
  // what must not happen twice has to be committed before it.
  absl::Time lease_until;
  // Whether the process wants to end: long work stops at its next step and answers kReleased.
  std::function<bool()> stopping;
};

// How a handler left its task.
struct Outcome {
  enum class Kind {
    kEnded,     // the handler has ended the task itself, in the transaction that did the work
    kRetry,     // to be tried again later; `error` is kept with the task
    kReleased,  // as if it had not been begun: to be gone on with at once, by whoever comes first
  };
  Kind kind = Kind::kEnded;
  std::string error;
};

// Claims due tasks of one queue and has them worked on, one at a time on each of its threads; any
// number of processes may do so side by side. Of the threads that have nothing to do one keeps
// watch: it sleeps until the next task is due, until a hint comes (Hint; LISTEN), or for a second,
// claims a task, hands the watch to another thread, and works. So a task begins within milliseconds
// of its time, and an idle queue costs two small queries a second.
//
// A thread of its own extends the leases of what is being worked on, and takes tasks back from
// workers that are gone, of any queue: the suite's own tasks need no parley-schedulerd.
//
// While the database is away, attempts are spaced by a growing pause. Thread-safe.
class Worker {
 public:
  // Runs on a thread of the worker's. May block; may not throw.
  using Handler = std::function<Outcome(const Job&)>;

  struct Options {
    std::string queue;
    int threads = 1;  // and as many connections, and one more, of the pool's
    absl::Duration lease = absl::Seconds(10);
  };

  // Starts the threads. `tasks` must outlive the worker; `dsn` is for LISTEN and for claims.
  Worker(db::TaskRepository& tasks, const db::Dsn& dsn, Options options, Handler handler);
  ~Worker();  // Drain(), then waits for what is being worked on

  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // There may be a new task in the queue.
  void Hint();

  // Begins nothing any more, and tells running handlers to stop. Does not wait. Idempotent.
  void Drain();

 private:
  struct Claimed {
    std::vector<Task> tasks;  // none or one
    std::string token;
    absl::Time until;
  };
  struct HeldLease {
    std::string token;
    absl::Time since;  // when it was begun or last extended
  };

  void Run();
  // Waits for the watch and keeps it until a task is claimed. None: the worker is to end.
  Claimed Watch() ABSL_LOCKS_EXCLUDED(mutex_);
  Claimed Look() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<Claimed> Claim();
  absl::Time NextLook();
  void Sleep(absl::Time until, std::uint64_t hints_seen) ABSL_LOCKS_EXCLUDED(mutex_);
  void Work(Claimed claimed);
  void Settle(const Job& job, const Outcome& outcome);
  void NoteOutcome(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  void Keep();
  void RescueExpired();
  void ExtendLeases() ABSL_LOCKS_EXCLUDED(mutex_);

  db::TaskRepository& tasks_;
  const Options options_;
  const Handler handler_;
  db::TaskClaimer claimer_;  // of whoever has the watch
  Mutex mutex_;
  CondVar turn_;       // whoever wants the watch
  CondVar wake_;       // whoever has it
  CondVar keep_wake_;  // the keeper
  bool watched_ ABSL_GUARDED_BY(mutex_) = false;
  std::uint64_t hints_ ABSL_GUARDED_BY(mutex_) = 0;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;  // nothing is being worked on any more
  std::map<std::int64_t, HeldLease> leases_ ABSL_GUARDED_BY(mutex_);     // of what is worked on
  absl::Duration pause_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();  // not zero: an outage
  absl::BitGen random_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
  std::thread keeper_;
  db::Listener listener_;  // the last member: it uses the others
};

}  // namespace parley::jobs
