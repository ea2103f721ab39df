#include "services/scheduler/dispatcher.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>
#include <utility>

#include "base/clock.h"
#include "base/random_token.h"
#include "base/status_macros.h"
#include "services/runtime/log.h"
#include "services/runtime/request_parser.h"

namespace parley::scheduler {
namespace {

// Every round looks at all who wait, and each of them costs memory.
constexpr std::size_t kMaxWaiting = 5000;
// One statement claims so many tasks at most, for however many who wait.
constexpr std::int32_t kMaxClaim = 500;
constexpr absl::Duration kNotifyInterval = absl::Milliseconds(20);
// Between two claims that found nothing although something was due.
constexpr absl::Duration kAfterLostRace = absl::Milliseconds(5);
constexpr absl::Duration kDatabasePatience = absl::Seconds(5);
constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
constexpr absl::Duration kLongestPause = absl::Seconds(1);

std::string NewLeaseToken(const std::string& prefix) {
  return NewRandomToken().replace(0, prefix.size(), prefix);
}

}  // namespace

Dispatcher::Dispatcher(db::TaskRepository& tasks, db::TaskClaimer claimer,
                       absl::Duration look_interval)
    : tasks_(tasks),
      look_interval_(look_interval),
      claimer_(std::move(claimer)),
      thread_([this] { Run(); }) {}

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
  bool full = false;
  {
    MutexLock lock(mutex_);
    full = room_.size() >= kMaxWaiting;
    if (!draining_ && !full) {
      room_.Enter(std::move(demand));
      wake_.NotifyOne();
      return;
    }
  }
  if (full) return demand.done(runtime::QueueFullError());
  demand.done(LeasedTasks{.draining = true});
}

void Dispatcher::TaskReady(absl::string_view queue, absl::Duration due_in) {
  {
    MutexLock lock(mutex_);
    to_notify_.emplace(queue);
    if (due_in <= absl::ZeroDuration()) {
      room_.TaskReady(queue, SteadyNow());
    } else {
      // The database knows the instant better: since its clock was read, a commit has passed.
      room_.Change(queue);
    }
  }
  wake_.NotifyOne();
}

void Dispatcher::TasksMoved(const std::vector<db::TaskRepository::Moved>& moved) {
  std::set<std::string> queues;
  std::set<std::string> with_room;
  for (const db::TaskRepository::Moved& task : moved) {
    if (task.state == TaskState::kPending) queues.insert(task.queue);
    if (task.queue_limited) with_room.insert(task.queue);
  }
  // Some may be due at once, others after a rest: a claim that finds nothing asks when.
  for (const std::string& queue : queues) TaskReady(queue, absl::ZeroDuration());
  for (const std::string& queue : with_room) QueueChanged(queue);
}

void Dispatcher::QueueChanged(absl::string_view queue) {
  {
    MutexLock lock(mutex_);
    to_notify_.emplace(queue);
    room_.Change(queue);
  }
  wake_.NotifyOne();
}

void Dispatcher::TaskEnded(absl::string_view queue) {
  {
    MutexLock lock(mutex_);
    if (!room_.IsLimited(queue)) return;
  }
  QueueChanged(queue);
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
  for (Waiter& waiter : waiters) waiter.demand.done(LeasedTasks{.draining = true});
}

std::size_t Dispatcher::parked() {
  MutexLock lock(mutex_);
  return room_.size();
}

void Dispatcher::Run() {
  while (true) {
    Round round = NextRound();
    for (Waiter& waiter : round.ended) {
      if (!waiter.left.ok()) {
        waiter.demand.done(waiter.left);
      } else if (!round.outage.ok()) {
        waiter.demand.done(round.outage);
      } else {
        waiter.demand.done(LeasedTasks{.draining = round.draining});
      }
    }
    if (!round.turn.waiters.empty()) Serve(std::move(round.turn));
    if (!round.notify.empty()) {
      // A lost notification costs others a second at most, so it is not sent again.
      NoteOutcome(tasks_.NotifyQueues(round.notify, SteadyNow() + kDatabasePatience));
    }
    if (!round.questions.empty()) Ask(round.questions);
    if (round.stop) return;
  }
}

Dispatcher::Round Dispatcher::NextRound() {
  MutexLock lock(mutex_);
  Round round;
  while (!FillRound(SteadyNow(), round)) wake_.WaitUntil(mutex_, NextWake());
  return round;
}

bool Dispatcher::FillRound(absl::Time now, Round& round) {
  round.stop = stopping_;
  round.draining = draining_;
  round.outage = outage_;
  const bool can_serve = now >= attempt_at_;
  round.ended = room_.TakeEnded(now, can_serve);
  if (can_serve) {
    round.turn = room_.TakeDue(now, kMaxClaim);
    if (!to_notify_.empty() && (now >= notify_at_ || stopping_)) {
      round.notify.assign(to_notify_.begin(), to_notify_.end());
      to_notify_.clear();
      notify_at_ = now + kNotifyInterval;
    }
    if (now >= look_at_) {
      room_.ChangeAll();
      look_at_ = now + look_interval_ * absl::Uniform(random_, 0.9, 1.0);
    }
    round.questions = room_.Questions();
  }
  return round.stop || !round.ended.empty() || !round.turn.waiters.empty() ||
         !round.notify.empty() || !round.questions.empty();
}

absl::Time Dispatcher::NextWake() {
  absl::Time work = absl::InfiniteFuture();
  if (!room_.empty()) work = std::min(room_.NextDue(), look_at_);
  if (!to_notify_.empty()) work = std::min(work, notify_at_);
  // After a failure there may be questions left, which have no instant of their own.
  if (!outage_.ok() && work != absl::InfiniteFuture()) work = attempt_at_;
  return std::min(work, room_.NextGiveUp());
}

void Dispatcher::Serve(WaitingRoom::Turn turn) {
  std::vector<Source> sources;
  if (!turn.unlimited.empty()) sources.push_back({.queues = std::move(turn.unlimited)});
  for (std::string& queue : turn.limited) {
    sources.push_back({.queues = {std::move(queue)}, .limited = true});
  }
  // Whoever comes last gets what the others have left: not always the same one.
  std::shuffle(sources.begin(), sources.end(), order_);
  std::list<Waiter>& waiters = turn.waiters;
  absl::StatusOr<bool> some = false;
  for (const Source& source : sources) {
    if (waiters.empty() || !some.ok()) break;
    const absl::StatusOr<bool> found = ClaimFrom(source, waiters);
    if (!found.ok() || *found) some = found;
  }
  MutexLock lock(mutex_);
  for (Waiter& waiter : waiters) {
    if (some.ok()) {
      // After a claim that found nothing although something was due, another process may have it in
      // its hands.
      if (!*some && waiter.tried) waiter.not_before = SteadyNow() + kAfterLostRace;
      waiter.tried = true;
    }
    if (draining_) {
      waiter.tried = true;
      waiter.demand.give_up = absl::InfinitePast();
    }
    room_.Return(std::move(waiter));
  }
}

absl::StatusOr<bool> Dispatcher::ClaimFrom(const Source& source, std::list<Waiter>& waiters) {
  const absl::Duration lease_duration = waiters.front().demand.lease_duration;
  const std::string token = NewLeaseToken(waiters.front().demand.token_prefix);
  std::int32_t max_tasks = 0;
  for (const Waiter& waiter : waiters) max_tasks += waiter.demand.max_tasks;
  const absl::Time asked = SteadyNow();
  const absl::Time deadline = asked + kDatabasePatience;
  absl::StatusOr<std::vector<Task>> tasks =
      source.limited ? claimer_.ClaimLimited(
                           {source.queues.front(), max_tasks, lease_duration, token}, deadline)
                     : claimer_.Claim({source.queues, max_tasks, lease_duration, token}, deadline);
  NoteOutcome(tasks.status());
  if (!tasks.ok()) return tasks.status();
  // A claim is the task's latest change.
  for (const Task& task : *tasks) {
    task_lateness_.Observe(absl::ToDoubleSeconds(task.update_time - task.run_time));
  }
  const bool some = !tasks->empty();
  const bool all = tasks->size() == static_cast<std::size_t>(max_tasks);
  if (some) HandOut(waiters, *std::move(tasks), token, lease_duration - (SteadyNow() - asked));
  if (!all) {
    MutexLock lock(mutex_);
    for (const std::string& queue : source.queues) room_.Emptied(queue);
  }
  return some;
}

void Dispatcher::HandOut(std::list<Waiter>& waiters, std::vector<Task> tasks,
                         const std::string& token, absl::Duration lease_left) {
  auto next = tasks.begin();
  std::vector<std::pair<LeaseDemand, absl::Status>> gone;
  for (auto waiter = waiters.begin(); waiter != waiters.end() && next != tasks.end();) {
    LeaseDemand& demand = waiter->demand;
    if (absl::Status alive = demand.check_alive(); !alive.ok()) {
      gone.emplace_back(std::move(demand), std::move(alive));
    } else {
      const auto count =
          std::min<std::ptrdiff_t>(demand.max_tasks, std::distance(next, tasks.end()));
      LeasedTasks leased;
      leased.tasks.assign(std::make_move_iterator(next), std::make_move_iterator(next + count));
      leased.token = token;
      leased.lease_left = lease_left;
      next += count;
      delivery_.Post(std::move(demand), std::move(leased));
    }
    waiter = waiters.erase(waiter);
  }
  if (next != tasks.end()) Release({next, tasks.end()}, token);
  for (auto& [demand, status] : gone) demand.done(status);
}

void Dispatcher::Ask(const std::vector<WaitingRoom::Question>& questions) {
  std::vector<std::string> queues;
  queues.reserve(questions.size());
  for (const WaitingRoom::Question& question : questions) queues.push_back(question.queue);
  const auto answer = claimer_.FindNextDue(queues, SteadyNow() + kDatabasePatience);
  NoteOutcome(answer.status());
  if (!answer.ok()) return;
  const absl::Time now = SteadyNow();
  std::map<std::string, WaitingRoom::Answer> answers;
  for (const db::TaskClaimer::NextDue& next : *answer) {
    answers[next.queue] = {
        .due = now + next.due_in, .open = now + next.open_in, .limited = next.limited};
  }
  MutexLock lock(mutex_);
  // Of a queue that is paused there is no answer, as if it were empty.
  for (const WaitingRoom::Question& question : questions) {
    room_.Learn(question, answers[question.queue]);
  }
}

void Dispatcher::Release(const std::vector<Task>& tasks, const std::string& token) {
  using End = AttemptEnd;
  std::vector<End> ends;
  ends.reserve(tasks.size());
  for (const Task& task : tasks) {
    ends.push_back({.lease = {task.id, token}, .kind = End::Kind::kReleased});
  }
  // If it fails, the leases run out.
  const auto released = tasks_.EndAttempts(ends, SteadyNow() + kDatabasePatience);
  if (released.ok()) TasksMoved(*released);
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
  attempt_at_ = SteadyNow() + pause_;
}

}  // namespace parley::scheduler
