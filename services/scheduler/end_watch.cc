#include "services/scheduler/end_watch.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>

#include "base/clock.h"
#include "base/status_macros.h"
#include "services/runtime/request_parser.h"

namespace parley::scheduler {
namespace {

constexpr std::size_t kMaxEndWaits = 5000;
// A look is followed by a pause so many times as long, however many wait.
constexpr int kEndLookShare = 10;
constexpr absl::Duration kEndPatience = absl::Seconds(5);
constexpr absl::Duration kEndOutagePause = absl::Milliseconds(500);
// A task weighs up to 1.3 MiB.
constexpr std::size_t kEndedAtOnce = 20;

bool HasEnded(const Task& task) {
  return task.state != TaskState::kPending && task.state != TaskState::kRunning;
}

}  // namespace

EndWatch::EndWatch(db::TaskRepository& tasks, Options options)
    : tasks_(tasks), options_(std::move(options)), thread_([this] { Run(); }) {}

EndWatch::~EndWatch() {
  Drain();
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyOne();
  thread_.join();
}

void EndWatch::Enter(Wait wait) {
  {
    MutexLock lock(mutex_);
    if (waiting_ < kMaxEndWaits) {
      ++waiting_;
      if (draining_) wait.give_up = absl::InfinitePast();
      fresh_.insert(wait.task_id);
      waits_[wait.task_id].push_back(std::move(wait));
      wake_.NotifyOne();
      return;
    }
  }
  wait.done(runtime::QueueFullError());
}

void EndWatch::TasksEnded(const std::vector<std::int64_t>& ids) {
  if (!ids.empty()) options_.on_ended();
  MutexLock lock(mutex_);
  if (waits_.empty()) return;
  for (const std::int64_t id : ids) {
    if (waits_.contains(id)) fresh_.insert(id);
  }
  if (!fresh_.empty()) wake_.NotifyOne();
}

void EndWatch::Drain() {
  MutexLock lock(mutex_);
  draining_ = true;
  for (auto& [id, waits] : waits_) {
    for (Wait& wait : waits) wait.give_up = absl::InfinitePast();
  }
  wake_.NotifyOne();
}

void EndWatch::Run() {
  while (true) {
    const Round round = NextRound();
    for (const Wait& wait : round.left) wait.done(wait.check_alive());
    const absl::Time began = SteadyNow();
    absl::Status status = Look(round);
    if (!status.ok()) FailLate(round.late, status);
    PlanNextLook(round, status, SteadyNow() - began);
    if (round.stop) return;
  }
}

EndWatch::Round EndWatch::NextRound() {
  MutexLock lock(mutex_);
  Round round;
  while (!FillRound(SteadyNow(), round)) wake_.WaitUntil(mutex_, NextWake());
  return round;
}

bool EndWatch::FillRound(absl::Time now, Round& round) {
  round.stop = stopping_;
  round.look = now >= look_at_ && !waits_.empty();
  if (round.look) TakeLeft(round.left);
  for (const auto& [id, waits] : waits_) {
    const bool late = std::any_of(waits.begin(), waits.end(),
                                  [now](const Wait& wait) { return wait.give_up <= now; });
    if (late) {
      round.late.push_back(id);
    } else if (now >= ask_at_ && (round.look || fresh_.contains(id))) {
      round.asked.push_back(id);
    }
  }
  if (now >= ask_at_) fresh_.clear();
  return round.stop || round.look || !round.asked.empty() || !round.late.empty();
}

absl::Time EndWatch::NextWake() {
  absl::Time next = waits_.empty() ? absl::InfiniteFuture() : look_at_;
  if (!fresh_.empty()) next = std::min(next, ask_at_);
  for (const auto& [id, waits] : waits_) {
    for (const Wait& wait : waits) next = std::min(next, wait.give_up);
  }
  return next;
}

void EndWatch::TakeLeft(std::vector<Wait>& left) {
  for (auto next = waits_.begin(); next != waits_.end();) {
    std::vector<Wait>& waits = next->second;
    const auto gone = std::stable_partition(
        waits.begin(), waits.end(), [](const Wait& wait) { return wait.check_alive().ok(); });
    waiting_ -= static_cast<std::size_t>(std::distance(gone, waits.end()));
    std::move(gone, waits.end(), std::back_inserter(left));
    waits.erase(gone, waits.end());
    next = waits.empty() ? waits_.erase(next) : std::next(next);
  }
}

absl::Status EndWatch::Look(const Round& round) {
  std::vector<std::int64_t> to_read = round.late;
  if (!round.asked.empty()) {
    PARLEY_ASSIGN_OR_RETURN(const std::set<std::int64_t> live,
                            tasks_.FindLive(round.asked, SteadyNow() + kEndPatience));
    std::copy_if(round.asked.begin(), round.asked.end(), std::back_inserter(to_read),
                 [&](std::int64_t id) { return !live.contains(id); });
  }
  while (!to_read.empty()) {
    const std::size_t count = std::min(to_read.size(), kEndedAtOnce);
    const auto first = to_read.end() - static_cast<std::ptrdiff_t>(count);
    PARLEY_RETURN_IF_ERROR(Answer({first, to_read.end()}));
    to_read.erase(first, to_read.end());
  }
  return absl::OkStatus();
}

absl::Status EndWatch::Answer(const std::vector<std::int64_t>& ids) {
  PARLEY_ASSIGN_OR_RETURN(const auto tasks, tasks_.ReadTasks(ids, SteadyNow() + kEndPatience));
  for (const std::int64_t id : ids) {
    const auto found = tasks.find(id);
    if (found == tasks.end()) {
      for (const Wait& wait : Take(id, Which::kAll)) wait.done(db::TaskNotFound(id));
      continue;
    }
    // One that is live was asked about because somebody's wait is over, or driven again in between.
    const Which which = HasEnded(found->second) ? Which::kAll : Which::kLate;
    for (const Wait& wait : Take(id, which)) wait.done(found->second);
  }
  return absl::OkStatus();
}

void EndWatch::FailLate(const std::vector<std::int64_t>& ids, const absl::Status& status) {
  for (const std::int64_t id : ids) {
    for (const Wait& wait : Take(id, Which::kLate)) wait.done(status);
  }
}

std::vector<EndWatch::Wait> EndWatch::Take(std::int64_t task_id, Which which) {
  std::vector<Wait> taken;
  const absl::Time now = SteadyNow();
  MutexLock lock(mutex_);
  const auto found = waits_.find(task_id);
  if (found == waits_.end()) return taken;
  std::vector<Wait>& waits = found->second;
  const auto out = std::stable_partition(waits.begin(), waits.end(), [&](const Wait& wait) {
    return which == Which::kLate && wait.give_up > now;
  });
  std::move(out, waits.end(), std::back_inserter(taken));
  waits.erase(out, waits.end());
  waiting_ -= taken.size();
  if (waits.empty()) waits_.erase(found);
  return taken;
}

void EndWatch::PlanNextLook(const Round& round, const absl::Status& status, absl::Duration took) {
  const absl::Duration pause = options_.look_interval * absl::Uniform(random_, 0.9, 1.1);
  const absl::Time now = SteadyNow();
  MutexLock lock(mutex_);
  if (!status.ok()) {
    ask_at_ = look_at_ = now + kEndOutagePause;
  } else if (round.look) {
    look_at_ = now + std::max(pause, took * kEndLookShare);
  }
}

}  // namespace parley::scheduler
