#include "services/scheduler/dispatcher.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/random_token.h"
#include "base/status_macros.h"
#include "services/runtime/log.h"
#include "services/runtime/request_parser.h"

namespace parley::scheduler {
namespace {

// Every round looks at all who wait, and each of them costs memory.
constexpr std::size_t kMaxWaiting = 5000;
constexpr absl::Duration kLookInterval = absl::Seconds(1);
constexpr absl::Duration kNotifyInterval = absl::Milliseconds(20);
// After a claim that found nothing although something was due: another process has it in its hands.
constexpr absl::Duration kAfterLostRace = absl::Milliseconds(5);
constexpr absl::Duration kDatabasePatience = absl::Seconds(5);
constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
constexpr absl::Duration kLongestPause = absl::Seconds(1);

}  // namespace

Dispatcher::Dispatcher(db::TaskRepository& tasks) : tasks_(tasks), thread_([this] { Run(); }) {}

Dispatcher::~Dispatcher() {
  Drain();
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyOne();
  thread_.join();
}

void Dispatcher::Lease(LeaseDemand demand) {
  bool draining = false;
  {
    MutexLock lock(mutex_);
    draining = draining_;
  }
  if (draining) return demand.done(LeasedTasks{});
  const absl::StatusOr<Claim> claim = ClaimFor(demand);
  if (!claim.ok()) return demand.done(claim.status());
  if (*claim != Claim::kNothing) return;
  bool full = false;
  {
    MutexLock lock(mutex_);
    full = room_.size() >= kMaxWaiting;
    if (!draining_ && !full && demand.give_up > absl::Now()) {
      room_.Enter(std::move(demand));
      wake_.NotifyOne();
      return;
    }
  }
  if (full) return demand.done(runtime::QueueFullError());
  demand.done(LeasedTasks{});
}

void Dispatcher::TaskReady(absl::string_view queue, absl::Duration due_in) {
  {
    MutexLock lock(mutex_);
    to_notify_.emplace(queue);
    if (due_in <= absl::ZeroDuration()) {
      room_.TaskReady(queue, absl::Now());
    } else {
      // The database knows the instant better: since its clock was read, a commit has passed.
      room_.Change(queue);
    }
  }
  wake_.NotifyOne();
}

void Dispatcher::Hint(absl::string_view queue) {
  {
    MutexLock lock(mutex_);
    if (queue.empty()) {
      room_.ChangeAll();
    } else {
      room_.Change(queue);
    }
  }
  wake_.NotifyOne();
}

void Dispatcher::Drain() {
  std::list<Waiter> waiters;
  {
    MutexLock lock(mutex_);
    draining_ = true;
    waiters = room_.TakeAll();
  }
  for (Waiter& waiter : waiters) waiter.demand.done(LeasedTasks{});
}

void Dispatcher::Run() {
  while (true) {
    Round round = NextRound();
    for (Waiter& waiter : round.ended) {
      if (absl::Status alive = waiter.demand.check_alive(); !alive.ok()) {
        waiter.demand.done(alive);
      } else if (!round.outage.ok()) {
        waiter.demand.done(round.outage);
      } else {
        waiter.demand.done(LeasedTasks{});
      }
    }
    if (round.due) Serve(*std::move(round.due));
    if (!round.notify.empty()) {
      // A lost notification costs others a second at most, so it is not sent again.
      NoteOutcome(tasks_.NotifyQueues(round.notify, absl::Now() + kDatabasePatience));
    }
    if (!round.questions.empty()) Ask(round.questions);
    if (round.stop) return;
  }
}

Dispatcher::Round Dispatcher::NextRound() {
  MutexLock lock(mutex_);
  Round round;
  while (!FillRound(absl::Now(), round)) wake_.WaitUntil(mutex_, NextWake());
  return round;
}

bool Dispatcher::FillRound(absl::Time now, Round& round) {
  round.stop = stopping_;
  round.outage = outage_;
  round.ended = room_.TakeEnded(now);
  if (now >= attempt_at_) {
    round.due = room_.TakeDue(now);
    if (!to_notify_.empty() && (now >= notify_at_ || stopping_)) {
      round.notify.assign(to_notify_.begin(), to_notify_.end());
      to_notify_.clear();
      notify_at_ = now + kNotifyInterval;
    }
    if (now >= look_at_) {
      room_.ChangeAll();
      look_at_ = now + kLookInterval * absl::Uniform(random_, 0.9, 1.0);
    }
    round.questions = room_.Questions();
  }
  return round.stop || !round.ended.empty() || round.due || !round.notify.empty() ||
         !round.questions.empty();
}

absl::Time Dispatcher::NextWake() {
  absl::Time work = absl::InfiniteFuture();
  if (!room_.empty()) work = std::min(room_.NextDue(), look_at_);
  if (!to_notify_.empty()) work = std::min(work, notify_at_);
  // After a failure there may be questions left, which have no instant of their own.
  if (!outage_.ok() && work != absl::InfiniteFuture()) work = attempt_at_;
  return std::min(work, room_.NextGiveUp());
}

void Dispatcher::Serve(Waiter waiter) {
  LeaseDemand& demand = waiter.demand;
  const std::vector<std::string> queues = demand.queues;
  const absl::StatusOr<Claim> claim = ClaimFor(demand);
  NoteOutcome(claim.status());
  MutexLock lock(mutex_);
  if (claim.ok() && *claim != Claim::kAllAskedFor) {
    for (const std::string& queue : queues) room_.Emptied(queue);
  }
  if (claim.ok() && *claim != Claim::kNothing) return;
  if (claim.ok()) waiter.not_before = absl::Now() + kAfterLostRace;
  if (draining_) waiter.demand.give_up = absl::InfinitePast();
  room_.Return(std::move(waiter));
}

void Dispatcher::Ask(const std::vector<WaitingRoom::Question>& questions) {
  std::vector<std::string> queues;
  queues.reserve(questions.size());
  for (const WaitingRoom::Question& question : questions) queues.push_back(question.queue);
  const auto answer = tasks_.FindNextDue(queues, absl::Now() + kDatabasePatience);
  NoteOutcome(answer.status());
  if (!answer.ok()) return;
  const absl::Time now = absl::Now();
  std::map<std::string, absl::Time> due;
  for (const db::TaskRepository::NextDue& next : *answer) due[next.queue] = now + next.due_in;
  MutexLock lock(mutex_);
  for (const WaitingRoom::Question& question : questions) {
    const auto found = due.find(question.queue);
    room_.Learn(question, found == due.end() ? absl::InfiniteFuture() : found->second);
  }
}

absl::StatusOr<Dispatcher::Claim> Dispatcher::ClaimFor(LeaseDemand& demand) {
  if (absl::Status alive = demand.check_alive(); !alive.ok()) {
    demand.done(alive);
    return Claim::kAllAskedFor;
  }
  LeasedTasks leased;
  leased.token = NewRandomToken();
  const absl::Time asked = absl::Now();
  PARLEY_ASSIGN_OR_RETURN(leased.tasks, tasks_.ClaimTasks({.queues = demand.queues,
                                                           .max_tasks = demand.max_tasks,
                                                           .lease_duration = demand.lease_duration,
                                                           .token = leased.token},
                                                          asked + kDatabasePatience));
  if (leased.tasks.empty()) return Claim::kNothing;
  const bool all = leased.tasks.size() == static_cast<std::size_t>(demand.max_tasks);
  if (absl::Status alive = demand.check_alive(); !alive.ok()) {
    Release(leased);
    demand.done(alive);
  } else {
    leased.lease_left = demand.lease_duration - (absl::Now() - asked);
    demand.done(std::move(leased));
  }
  return all ? Claim::kAllAskedFor : Claim::kSome;
}

void Dispatcher::Release(const LeasedTasks& leased) {
  std::vector<std::int64_t> ids;
  for (const Task& task : leased.tasks) ids.push_back(task.id);
  // If it fails, the leases run out.
  const absl::Status released =
      tasks_.ReleaseTasks(ids, leased.token, absl::Now() + kDatabasePatience);
  if (!released.ok()) return;
  for (const Task& task : leased.tasks) TaskReady(task.queue, absl::ZeroDuration());
}

void Dispatcher::NoteOutcome(const absl::Status& status) {
  MutexLock lock(mutex_);
  const bool was_out = !std::exchange(outage_, status).ok();
  // Logged once when it begins and once when it ends, not for every attempt.
  if (status.ok()) {
    if (was_out) runtime::Log(runtime::LogLevel::kInfo, "dispatching goes on");
    pause_ = absl::ZeroDuration();
    attempt_at_ = absl::InfinitePast();
    return;
  }
  if (!was_out) {
    runtime::Log(runtime::LogLevel::kWarn, "dispatching waits for the database",
                 {{"error", std::string(status.message())}});
  }
  pause_ = std::clamp(pause_ * 2, kFirstPause, kLongestPause);
  attempt_at_ = absl::Now() + pause_;
}

}  // namespace parley::scheduler
