// Workers' calls that wait for tasks, and what is known about the queues they wait for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/model/task.h"

namespace parley::scheduler {

// Tasks in the hands of one worker.
struct LeasedTasks {
  std::vector<Task> tasks;
  std::string token;
  absl::Duration lease_left;  // at least so long, from the moment this was made
  bool draining = false;      // there are none, and none will come: the server goes down
};

// A worker's call for tasks, or a pusher's.
struct LeaseDemand {
  std::vector<std::string> queues;  // no queue twice
  std::int32_t max_tasks = 1;
  absl::Duration lease_duration;
  std::string token_prefix;                   // how the lease's token begins; empty: a worker's
  absl::Time give_up;                         // answered by then, if need be with nothing
  std::function<absl::Status()> check_alive;  // not OK: the caller has left
  std::function<void(absl::StatusOr<LeasedTasks>)> done;  // called once, on any thread
};

// Memory only: it asks no clock and no database. Not thread-safe.
//
// For each queue that somebody waits for it keeps when a claim may find something as far as is
// known, whether the queue limits what runs, and whether the database should be asked about it.
// It forgets queues for which nobody has come for a while (ChangeAll).
class WaitingRoom {
 public:
  struct Waiter {
    std::int64_t arrival = 0;  // whoever came first is served first
    // One that was not served yet is due as soon as it is known which of its queues are limited.
    bool tried = false;
    absl::Time not_before = absl::InfinitePast();  // serve it no earlier
    absl::Status left;                             // not OK: the caller has (TakeEnded)
    LeaseDemand demand;
  };

  // A queue to ask the database about.
  struct Question {
    std::string queue;
    std::int64_t changes = 0;  // before the question
    std::int64_t doubts = 0;
  };

  // A claim that is to be made: for whom, and from which queues.
  struct Turn {
    std::list<Waiter> waiters;           // all want the same
    std::vector<std::string> unlimited;  // together
    std::vector<std::string> limited;    // each by itself
  };

  // Takes a seat at the end. The database is to be asked about queues that are not known.
  void Enter(LeaseDemand demand);
  // Takes the old seat again.
  void Return(Waiter waiter);

  // Those who have waited until `now` was their time to give up, and those who have left: they are
  // asked about it here and not again, for a pusher may change its mind. Whoever was not tried yet
  // is left to TakeDue, unless nobody can be served now.
  std::list<Waiter> TakeEnded(absl::Time now, bool can_serve);
  // Who came first of those for whom something is due, and, in the order of their arrival, others
  // who want the same from the same queues, as long as all want no more than `max_tasks` together
  // (the first may alone). The queues are those for which something is due, or all of them for who
  // was not tried yet. No waiters: nothing is due.
  Turn TakeDue(absl::Time now, std::int32_t max_tasks);
  std::list<Waiter> TakeAll();

  // A task was put into `queue`, due at `due`. If that limits what runs, the database is to be
  // asked.
  void TaskReady(absl::string_view queue, absl::Time due);
  // Something may have changed: ask the database.
  void Change(absl::string_view queue);
  // The same for all, but those for which nobody has come since the last time: they are forgotten.
  void ChangeAll();
  // A claim took all that was due in `queue`.
  void Emptied(absl::string_view queue);

  // What the database should be asked.
  std::vector<Question> Questions() const;
  struct Answer {
    absl::Time due = absl::InfiniteFuture();  // the next task
    absl::Time open = absl::InfinitePast();   // nothing may run before, however much is due
    bool limited = false;
  };
  // The database's answer. A change after the question means that it must be asked again.
  void Learn(const Question& question, const Answer& answer);

  bool IsLimited(absl::string_view queue) const;  // as far as is known
  bool empty() const { return waiters_.empty(); }
  std::size_t size() const { return waiters_.size(); }
  // When TakeEnded and TakeDue may have something to give, unless a caller leaves or something
  // changes; absl::InfiniteFuture if nobody waits.
  absl::Time NextGiveUp() const;
  absl::Time NextDue() const;

 private:
  struct Queue {
    // When a claim may find something.
    absl::Time ClaimAt() const { return std::max(due, open); }

    int waiting = 0;
    bool wanted = true;  // somebody has come for it since the last ChangeAll
    absl::Time due = absl::InfiniteFuture();
    absl::Time open = absl::InfinitePast();
    std::optional<bool> limited;  // absent: not known
    bool ask = true;              // when it is due; for those who wait
    std::int64_t changes = 0;
    // How often its limits may have changed, and as of which change they are known; asked about for
    // those who come and go, too.
    std::int64_t doubts = 1;
    std::int64_t settled = 0;
  };

  absl::Time DueFor(const Waiter& waiter) const;
  void NameQueues(const Waiter& waiter, absl::Time now, Turn& turn) const;
  void Seat(std::list<Waiter>::iterator before, Waiter waiter);
  void Leave(std::list<Waiter>::iterator waiter, std::list<Waiter>& out);

  std::int64_t arrivals_ = 0;
  std::list<Waiter> waiters_;  // by arrival
  std::map<std::string, Queue, std::less<>> queues_;
};

}  // namespace parley::scheduler
