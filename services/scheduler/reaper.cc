#include "services/scheduler/reaper.h"

#include <string>
#include <vector>

#include "absl/random/random.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "services/runtime/log.h"

namespace parley::scheduler {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(1);
constexpr absl::Duration kPatience = absl::Seconds(5);
constexpr std::int32_t kBatch = 500;
// A step that was cut by what it moves (kMaxMovedBytes) has moved so many, of little more than 1
// MiB each. After fewer nothing is left but what has come since, and that can wait for a second.
constexpr std::int32_t kCutAtLeast = 3;
// How far ahead the history has room for tasks that end, and how often it is seen to.
constexpr std::int32_t kHistoryAhead = 7;
constexpr absl::Duration kHistoryInterval = absl::Minutes(10);
constexpr absl::Duration kFoldInterval = absl::Minutes(10);
constexpr absl::Duration kDeadInterval = absl::Minutes(10);

}  // namespace

Reaper::Reaper(const Parts& parts, const Keep& keep)
    : parts_(parts), keep_(keep), thread_([this] { Run(); }) {}

Reaper::~Reaper() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyOne();
  thread_.join();
}

void Reaper::Run() {
  absl::BitGen random;
  while (true) {
    bool more = Repeat([this] { return Rescue(); });
    more |= Repeat([this] { return Expire(); });
    more |= Repeat([this] { return Unblock(); });
    more |= Repeat([this] { return SweepKeys(); });  // before the history forgets what they need
    if (SteadyNow() >= history_at_) TendHistory();
    if (SteadyNow() >= fold_at_) FoldCounters();
    if (keep_.dead_days > 0 && SteadyNow() >= dead_at_) DropDead();
    // Not all processes at once.
    const absl::Time next =
        SteadyNow() + (more ? absl::ZeroDuration() : kInterval * absl::Uniform(random, 0.8, 1.0));
    MutexLock lock(mutex_);
    while (!stopping_ && SteadyNow() < next) wake_.WaitUntil(mutex_, next);
    if (stopping_) return;
  }
}

bool Reaper::IsStopping() {
  MutexLock lock(mutex_);
  return stopping_;
}

bool Reaper::Repeat(const std::function<bool()>& step) {
  const absl::Time until = SteadyNow() + kInterval;
  while (step()) {
    if (SteadyNow() >= until || IsStopping()) return true;
  }
  return false;
}

bool Reaper::Rescue() {
  const auto rescued = parts_.tasks.RescueExpired(kBatch, SteadyNow() + kPatience);
  if (!rescued.ok() && !failing_) {
    runtime::Log(runtime::LogLevel::kWarn, "leases that have run out cannot be looked for",
                 {{"error", std::string(rescued.status().message())}});
  }
  failing_ = !rescued.ok();
  if (!rescued.ok()) return false;
  parts_.dispatcher.TasksMoved(*rescued);
  return rescued->size() >= kCutAtLeast;
}

bool Reaper::Expire() {
  // Of an outage Rescue has told.
  return parts_.tasks.ExpireTasks(kBatch, SteadyNow() + kPatience).value_or(0) >= kCutAtLeast;
}

bool Reaper::Unblock() {
  // Seldom any: UpdateQueue does it when it takes the limit away.
  return parts_.queues.UnblockTasks(kBatch, SteadyNow() + kPatience).value_or(0) == kBatch;
}

bool Reaper::SweepKeys() {
  return parts_.tasks.SweepDedupeKeys(kBatch, SteadyNow() + kPatience).value_or(0) == kBatch;
}

void Reaper::FoldCounters() {
  // Late is early enough: the sums are right without.
  fold_at_ = SteadyNow() + kFoldInterval;
  const absl::Status status = parts_.queues.FoldCounters(SteadyNow() + kPatience);
  if (!status.ok()) {
    runtime::Log(runtime::LogLevel::kWarn, "the counters of queues cannot be added up",
                 {{"error", std::string(status.message())}});
  }
}

void Reaper::DropDead() {
  // One step a second, so that a million of them keep no lease waiting.
  const absl::StatusOr<std::int64_t> dropped =
      parts_.tasks.DropDead(keep_.dead_days, kBatch, SteadyNow() + kPatience);
  if (dropped.value_or(0) > 0) return;
  dead_at_ = SteadyNow() + kDeadInterval;
  if (!dropped.ok()) {
    runtime::Log(runtime::LogLevel::kWarn, "dead tasks cannot be dropped",
                 {{"error", std::string(dropped.status().message())}});
  }
}

void Reaper::TendHistory() {
  absl::Status status = parts_.tasks.ExtendHistory(kHistoryAhead, SteadyNow() + kPatience);
  // Without room nothing could end; that it is dropped can wait.
  if (status.ok()) history_at_ = SteadyNow() + kHistoryInterval;
  while (status.ok()) {
    const absl::StatusOr<bool> dropped =
        parts_.tasks.DropHistory(keep_.history_days, SteadyNow() + kPatience);
    status = dropped.status();
    if (!dropped.ok() || !*dropped) break;
  }
  if (!status.ok()) {
    runtime::Log(runtime::LogLevel::kWarn, "the history of tasks cannot be tended",
                 {{"error", std::string(status.message())}});
  }
}

}  // namespace parley::scheduler
