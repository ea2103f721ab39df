#include "services/scheduler/push/handoff_keeper.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "services/celery/celery_message.h"
#include "services/runtime/log.h"
#include "services/scheduler/push/push_rules.h"

namespace parley::scheduler {
namespace {

using celery::CeleryResult;

constexpr absl::Duration kKeeperInterval = absl::Seconds(1);
constexpr absl::Duration kResultInterval = absl::Milliseconds(100);
// A look that took long is not followed by the next one at once.
constexpr double kLeisure = 5;
// Whoever has claimed a task hands it over at once, or is in trouble.
constexpr absl::Duration kOldClaim = absl::Seconds(5);
constexpr absl::Duration kKeeperPatience = absl::Seconds(5);
// Workers forget, and new ones have not heard it.
constexpr absl::Duration kRevokeAgain = absl::Seconds(10);
// Somebody who was stopped for a moment may still want to know.
constexpr absl::Duration kKeepSettled = absl::Minutes(10);

}  // namespace

HandoffKeeper::HandoffKeeper(const PushParts& parts, CeleryQueue queue)
    : parts_(parts),
      queue_(std::move(queue)),
      place_(PlaceOf(queue_)),
      settler_(parts_, stop_),
      celery_(MakeCeleryParts(queue_)),
      thread_([this] { Run(); }) {}

HandoffKeeper::~HandoffKeeper() {
  Stop();
  thread_.join();
}

void HandoffKeeper::Track(std::vector<db::PushedTask> tasks) {
  MutexLock lock(mutex_);
  new_.insert(new_.end(), std::make_move_iterator(tasks.begin()),
              std::make_move_iterator(tasks.end()));
}

absl::Time HandoffKeeper::IdleSince() {
  MutexLock lock(mutex_);
  return idle_since_;
}

void HandoffKeeper::Run() {
  absl::Time look_at = absl::InfinitePast();
  absl::Duration pause = kResultInterval;
  do {
    const absl::Time begin = SteadyNow();
    TakeNew();
    if (begin >= look_at) {
      Look();
      look_at = SteadyNow() + std::max(kKeeperInterval, kLeisure * (SteadyNow() - begin));
    }
    ReadResults();
    pause = std::max(kResultInterval, kLeisure * (SteadyNow() - begin));
  } while (stop_.SleepFor(queue_.tracks() ? pause : kKeeperInterval));
}

void HandoffKeeper::TakeNew() {
  std::vector<db::PushedTask> tasks;
  {
    MutexLock lock(mutex_);
    tasks.swap(new_);
  }
  for (db::PushedTask& task : tasks) Remember(std::move(task));
}

void HandoffKeeper::Remember(db::PushedTask task) {
  Tracked tracked;
  tracked.celery_id = celery::CeleryId(task.lease.task_id, task.create_time);
  tracked.task = std::move(task);
  tracked_[tracked.task.lease.task_id] = std::move(tracked);
}

void HandoffKeeper::Look() {
  const absl::Time begin = SteadyNow();
  const auto running = parts_.pushes.ListTasks(place_, begin + kKeeperPatience);
  if (!running.ok()) return;  // the dispatcher tells of an outage
  NoteIdle(running->empty() ? begin : absl::InfiniteFuture());
  std::vector<db::PushedTask> old;
  for (const db::PushedTask& task : *running) {
    const auto tracked = tracked_.find(task.lease.task_id);
    const bool is_known =
        tracked != tracked_.end() && tracked->second.task.lease.token == task.lease.token;
    if (!is_known && task.age > kOldClaim) old.push_back(task);
  }
  const std::vector<db::PushedTask> sent = SortOut(old);
  if (!queue_.tracks()) return Acknowledge(sent);
  FollowTracked(*running);
  for (const db::PushedTask& task : sent) Remember(task);
  EndOverdue();
  Revoke();
}

void HandoffKeeper::NoteIdle(absl::Time since) {
  MutexLock lock(mutex_);
  idle_since_ = since == absl::InfiniteFuture() ? since : std::min(idle_since_, since);
}

std::vector<db::PushedTask> HandoffKeeper::SortOut(const std::vector<db::PushedTask>& old) {
  std::vector<db::PushedTask> sent;
  if (old.empty()) return sent;
  std::vector<std::string> keys;
  keys.reserve(old.size());
  for (const db::PushedTask& task : old) keys.push_back(HandoffKey(task.lease));
  const auto was_sent = celery_.ledger->Withdraw(keys);
  if (!was_sent.ok()) return sent;  // the pusher tells of an outage
  std::vector<AttemptEnd> ends;
  for (std::size_t i = 0; i < old.size(); ++i) {
    if ((*was_sent)[i]) {
      sent.push_back(old[i]);
    } else {
      ends.push_back({.lease = old[i].lease, .kind = AttemptEnd::Kind::kReleased});
    }
  }
  settler_.End(std::move(ends));
  return sent;
}

void HandoffKeeper::Acknowledge(const std::vector<db::PushedTask>& tasks) {
  std::vector<db::TaskAck> acks;
  acks.reserve(tasks.size());
  for (const db::PushedTask& task : tasks) acks.push_back({task.lease.task_id, task.lease.token});
  Settle(acks, {});
}

void HandoffKeeper::FollowTracked(const std::vector<db::PushedTask>& running) {
  std::map<std::int64_t, const db::PushedTask*> by_id;
  for (const db::PushedTask& task : running) by_id[task.lease.task_id] = &task;
  for (auto next = tracked_.begin(); next != tracked_.end();) {
    const auto tracked = next++;
    db::PushedTask& task = tracked->second.task;
    const auto found = by_id.find(tracked->first);
    if (found != by_id.end() && found->second->lease.token == task.lease.token) {
      task = *found->second;
    } else {
      tracked_.erase(tracked);  // somebody has ended it
    }
  }
}

void HandoffKeeper::EndOverdue() {
  const absl::Duration timeout = queue_.delivery.result_timeout;
  // Of what a target before has given the tasks is no longer known how long it was.
  const std::string error =
      timeout == absl::InfiniteDuration()
          ? "no result from Celery in time"
          : absl::StrCat("no result from Celery within ", absl::FormatDuration(timeout));
  std::vector<AttemptEnd> ends;
  for (const auto& [id, tracked] : tracked_) {
    if (tracked.task.left > kResultGrace) continue;
    ends.push_back({.lease = tracked.task.lease, .error = error});
  }
  Settle({}, ends);
}

void HandoffKeeper::Revoke() {
  for (auto& [id, tracked] : tracked_) {
    const absl::Time now = SteadyNow();
    if (!tracked.task.cancel_requested || now < tracked.revoked_at + kRevokeAgain) continue;
    tracked.revoked_at = now;
    if (!celery_.broker->Revoke(tracked.celery_id).ok()) return;  // in a while again
  }
}

void HandoffKeeper::ReadResults() {
  if (tracked_.empty()) return;
  std::vector<const Tracked*> waiting;
  std::vector<std::string> ids;
  for (const auto& [id, tracked] : tracked_) {
    waiting.push_back(&tracked);
    ids.push_back(tracked.celery_id);
  }
  const auto results = celery_.results->Read(ids);
  if (!results.ok()) return;  // the pusher tells of an outage
  std::vector<db::TaskAck> acks;
  std::vector<AttemptEnd> ends;
  for (std::size_t i = 0; i < waiting.size(); ++i) {
    if ((*results)[i].has_value()) Judge(waiting[i]->task, *(*results)[i], acks, ends);
  }
  Settle(acks, ends);
}

void HandoffKeeper::Judge(const db::PushedTask& task, const CeleryResult& result,
                          std::vector<db::TaskAck>& acks, std::vector<AttemptEnd>& ends) {
  AttemptEnd end = {.lease = task.lease, .error = result.error};
  switch (result.kind) {
    case CeleryResult::Kind::kSucceeded: {
      // It is done, and cannot be told to be shorter.
      const bool fits = IsStorableResult(result.result);
      acks.push_back({task.lease.task_id, task.lease.token, fits ? result.result : ""});
      if (!fits) {
        runtime::Log(runtime::LogLevel::kWarn, "a result is too large to be kept",
                     {{"task_id", task.lease.task_id}});
      }
      return;
    }
    case CeleryResult::Kind::kFailed:
      break;
    case CeleryResult::Kind::kExpired:
      // It is released, and EXPIRED for it, as soon as it has expired by the database's clock too.
      if (task.may_expire) return;
      end.kind = AttemptEnd::Kind::kReleased;
      break;
    case CeleryResult::Kind::kRevoked:
      end.kind = AttemptEnd::Kind::kFailedForGood;
      end.error = absl::StrCat("revoked in Celery (", result.error, ")");
      break;
    case CeleryResult::Kind::kUnreadable:
      end.kind = AttemptEnd::Kind::kFailedForGood;
      break;
  }
  ends.push_back(std::move(end));
}

void HandoffKeeper::Settle(const std::vector<db::TaskAck>& acks,
                           const std::vector<AttemptEnd>& ends) {
  if (acks.empty() && ends.empty()) return;
  if (!settler_.Ack(acks) || !settler_.End(ends)) return;
  std::vector<std::string> keys;
  keys.reserve(acks.size() + ends.size());
  for (const db::TaskAck& ack : acks) keys.push_back(HandoffKey({ack.task_id, ack.token}));
  for (const AttemptEnd& end : ends) keys.push_back(HandoffKey(end.lease));
  for (const db::TaskAck& ack : acks) tracked_.erase(ack.task_id);
  for (const AttemptEnd& end : ends) tracked_.erase(end.lease.task_id);
  // If it fails, Redis forgets them later.
  (void)celery_.ledger->Settle(keys, kKeepSettled);
}

}  // namespace parley::scheduler
