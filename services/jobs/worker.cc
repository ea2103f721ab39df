#include "services/jobs/worker.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/clock.h"
#include "base/random_token.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "services/runtime/log.h"

namespace parley::jobs {
namespace {

constexpr absl::Duration kLookInterval = absl::Seconds(1);
constexpr absl::Duration kDatabasePatience = absl::Seconds(5);
// After a claim that found nothing although something was due: another process has it in its hands.
constexpr absl::Duration kAfterLostRace = absl::Milliseconds(5);
constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
constexpr absl::Duration kLongestPause = absl::Seconds(1);
constexpr std::int32_t kRescueBatch = 500;
// How far ahead the history has room for tasks that end, and how often that is seen to.
constexpr std::int32_t kHistoryDays = 7;
constexpr absl::Duration kHistoryInterval = absl::Hours(1);
constexpr std::size_t kMaxErrorBytes = 1024;

}  // namespace

Worker::Worker(db::TaskRepository& tasks, const db::Dsn& dsn, Options options, Handler handler)
    : tasks_(tasks),
      options_(std::move(options)),
      handler_(std::move(handler)),
      claimer_(dsn),
      keeper_([this] { Keep(); }),
      listener_(dsn, db::kTaskChannel, [this](absl::string_view queue) {
        if (queue.empty() || queue == options_.queue) Hint();
      }) {
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Run(); });
}

Worker::~Worker() {
  Drain();
  for (std::thread& thread : threads_) thread.join();
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    keep_wake_.NotifyAll();
  }
  keeper_.join();
}

void Worker::Hint() {
  MutexLock lock(mutex_);
  ++hints_;
  wake_.NotifyAll();
}

void Worker::Drain() {
  MutexLock lock(mutex_);
  draining_ = true;
  turn_.NotifyAll();
  wake_.NotifyAll();
}

void Worker::Run() {
  while (true) {
    Claimed claimed = Watch();
    if (claimed.tasks.empty()) return;
    Work(std::move(claimed));
  }
}

Worker::Claimed Worker::Watch() {
  {
    MutexLock lock(mutex_);
    while (watched_ && !draining_) turn_.Wait(mutex_);
    if (draining_) return {};
    watched_ = true;
  }
  Claimed claimed = Look();
  MutexLock lock(mutex_);
  watched_ = false;
  turn_.NotifyOne();
  for (const Task& task : claimed.tasks) {
    leases_[task.id] = {claimed.token, claimed.until - options_.lease};
  }
  return claimed;
}

Worker::Claimed Worker::Look() {
  while (true) {
    std::uint64_t hints_seen = 0;
    {
      MutexLock lock(mutex_);
      if (draining_) return {};
      hints_seen = hints_;
    }
    absl::StatusOr<Claimed> claimed = Claim();
    NoteOutcome(claimed.status());
    if (claimed.ok() && !claimed->tasks.empty()) return *std::move(claimed);
    Sleep(claimed.ok() ? NextLook() : SteadyNow(), hints_seen);
  }
}

absl::StatusOr<Worker::Claimed> Worker::Claim() {
  Claimed claimed;
  claimed.token = NewRandomToken();
  const absl::Time asked = SteadyNow();
  claimed.until = asked + options_.lease;
  PARLEY_ASSIGN_OR_RETURN(claimed.tasks, claimer_.Claim({.queues = {options_.queue},
                                                         .max_tasks = 1,
                                                         .lease_duration = options_.lease,
                                                         .token = claimed.token},
                                                        asked + kDatabasePatience));
  return claimed;
}

absl::Time Worker::NextLook() {
  const auto next = claimer_.FindNextDue({options_.queue}, SteadyNow() + kDatabasePatience);
  NoteOutcome(next.status());
  const absl::Time now = SteadyNow();
  absl::Duration due_in = kLookInterval;
  if (next.ok() && !next->empty()) due_in = std::max(next->front().due_in, kAfterLostRace);
  // Never for longer, for hints that are lost and clocks that are set.
  return now + std::min(due_in, kLookInterval);
}

void Worker::Sleep(absl::Time until, std::uint64_t hints_seen) {
  MutexLock lock(mutex_);
  const bool outage = pause_ > absl::ZeroDuration();
  // Hints do not shorten the pause of an outage.
  if (outage) until = SteadyNow() + pause_;
  while (!draining_ && SteadyNow() < until && (outage || hints_ == hints_seen)) {
    wake_.WaitUntil(mutex_, until);
  }
}

void Worker::Work(Claimed claimed) {
  Job job;
  job.task = std::move(claimed.tasks.front());
  job.lease = {job.task.id, claimed.token};
  job.lease_until = claimed.until;
  job.stopping = [this] {
    MutexLock lock(mutex_);
    return draining_;
  };
  const Outcome outcome = handler_(job);
  Settle(job, outcome);
  MutexLock lock(mutex_);
  leases_.erase(job.task.id);
}

void Worker::Settle(const Job& job, const Outcome& outcome) {
  const absl::Time deadline = SteadyNow() + kDatabasePatience;
  absl::Status settled;
  switch (outcome.kind) {
    case Outcome::Kind::kEnded:
      return;
    case Outcome::Kind::kRetry:
      settled = tasks_
                    .EndAttempt({.lease = job.lease,
                                 .error = std::string(CutText(outcome.error, kMaxErrorBytes))},
                                deadline)
                    .status();
      break;
    case Outcome::Kind::kReleased:
      settled =
          tasks_.EndAttempt({.lease = job.lease, .kind = AttemptEnd::Kind::kReleased}, deadline)
              .status();
      if (settled.ok()) settled = tasks_.NotifyQueues({options_.queue}, deadline);
      break;
  }
  // If it failed, the lease runs out, and the task comes back by itself.
  runtime::Log(settled.ok() ? runtime::LogLevel::kInfo : runtime::LogLevel::kWarn,
               outcome.kind == Outcome::Kind::kRetry ? "a task is to be tried again"
                                                     : "a task is left for others",
               {{"queue", options_.queue},
                {"task_id", job.task.id},
                {"attempt", std::int64_t{job.task.attempt}},
                {"error", settled.ok() ? outcome.error : std::string(settled.message())}});
}

void Worker::NoteOutcome(const absl::Status& status) {
  MutexLock lock(mutex_);
  const bool was_out = pause_ > absl::ZeroDuration();
  // Logged once when it begins and once when it ends, not for every attempt.
  if (status.ok()) {
    if (was_out) {
      runtime::Log(runtime::LogLevel::kInfo, "the worker goes on", {{"queue", options_.queue}});
    }
    pause_ = absl::ZeroDuration();
    return;
  }
  if (!was_out) {
    runtime::Log(runtime::LogLevel::kWarn, "the worker waits for the database",
                 {{"queue", options_.queue}, {"error", std::string(status.message())}});
  }
  pause_ = std::clamp(pause_ * 2, kFirstPause, kLongestPause);
}

void Worker::Keep() {
  absl::Time history_at = absl::InfinitePast();
  while (true) {
    const absl::Time begun = SteadyNow();
    if (begun >= history_at && tasks_.ExtendHistory(kHistoryDays, begun + kDatabasePatience).ok()) {
      history_at = begun + kHistoryInterval;
    }
    RescueExpired();
    ExtendLeases();
    MutexLock lock(mutex_);
    // Not all processes at once.
    const absl::Time next = SteadyNow() + kLookInterval * absl::Uniform(random_, 0.8, 1.0);
    while (!stopping_ && SteadyNow() < next) keep_wake_.WaitUntil(mutex_, next);
    if (stopping_) return;
  }
}

void Worker::RescueExpired() {
  // Whoever watches tells of an outage.
  const auto rescued = tasks_.RescueExpired(kRescueBatch, SteadyNow() + kDatabasePatience);
  if (!rescued.ok()) return;
  std::set<std::string> queues;
  for (const db::TaskRepository::Moved& task : *rescued) {
    if (task.state == TaskState::kPending) queues.insert(task.queue);
  }
  if (queues.empty()) return;
  if (queues.contains(options_.queue)) Hint();
  // A lost notification costs others a second.
  tasks_.NotifyQueues({queues.begin(), queues.end()}, SteadyNow() + kDatabasePatience)
      .IgnoreError();
}

void Worker::ExtendLeases() {
  std::map<std::int64_t, HeldLease> leases;
  {
    MutexLock lock(mutex_);
    leases = leases_;
  }
  for (const auto& [id, held] : leases) {
    const absl::Time now = SteadyNow();
    if (now < held.since + options_.lease / 3) continue;
    const auto extended =
        tasks_.ExtendLease({id, held.token}, options_.lease, now + kDatabasePatience);
    if (!extended.ok()) continue;  // the handler finds out when it ends the task
    MutexLock lock(mutex_);
    const auto still = leases_.find(id);
    if (still != leases_.end() && still->second.token == held.token) still->second.since = now;
  }
}

}  // namespace parley::jobs
