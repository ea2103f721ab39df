#include "services/scheduler/ticker.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "services/runtime/log.h"
#include "services/scheduler/zone_follower.h"

namespace parley::scheduler {
namespace {

constexpr std::int32_t kSchedulesAtOnce = 100;
constexpr absl::Duration kTickPatience = absl::Seconds(5);
// Between two looks when others have their hands on what is due, or when tasks end all the time.
constexpr absl::Duration kShortestRest = absl::Milliseconds(20);

}  // namespace

Ticker::Ticker(Parts parts) : parts_(parts), thread_([this] { Run(); }) {}

Ticker::~Ticker() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyOne();
  thread_.join();
}

void Ticker::Hint() {
  {
    MutexLock lock(mutex_);
    hinted_ = true;
  }
  wake_.NotifyOne();
}

void Ticker::TasksEnded() {
  {
    MutexLock lock(mutex_);
    if (!buffering_ || ended_) return;
    ended_ = true;
  }
  wake_.NotifyOne();
}

void Ticker::Run() {
  while (true) {
    {
      MutexLock lock(mutex_);
      if (stopping_) return;
      hinted_ = false;
      ended_ = false;
    }
    const absl::Time again = Tick();
    const absl::Time rested = std::min(again, absl::Now() + kShortestRest);
    MutexLock lock(mutex_);
    while (!stopping_ && !hinted_ && absl::Now() < (ended_ ? rested : again)) {
      wake_.WaitUntil(mutex_, ended_ ? rested : again);
    }
  }
}

absl::Time Ticker::Tick() {
  const absl::Time look = absl::Now() + parts_.look_interval * absl::Uniform(random_, 0.9, 1.0);
  if (!zones_followed_) {
    const absl::Status followed = FollowZones(parts_.tasks, parts_.schedules, parts_.dispatcher);
    NoteOutcome(followed);
    if (!followed.ok()) return look;
    zones_followed_ = true;
  }
  const auto next = parts_.schedules.FindNextFiring(absl::Now() + kTickPatience);
  NoteOutcome(next.status());
  if (!next.ok()) return look;
  {
    // Before the firing, which sees what has ended before.
    MutexLock lock(mutex_);
    buffering_ = next->buffering;
  }
  const bool is_due = next->due_in <= absl::ZeroDuration();
  if (!is_due && !next->buffering) return std::min(look, absl::Now() + next->due_in);

  const absl::StatusOr<bool> more = Fire();
  NoteOutcome(more.status());
  if (!more.ok() || stuck_) return look;
  if (*more) return absl::Now();
  return is_due ? absl::Now() + kShortestRest : std::min(look, absl::Now() + next->due_in);
}

absl::StatusOr<bool> Ticker::Fire() {
  PARLEY_ASSIGN_OR_RETURN(const auto fired,
                          parts_.schedules.FireDue(kSchedulesAtOnce, absl::Now() + kTickPatience));
  for (const auto& task : fired.tasks) parts_.dispatcher.TaskReady(task.queue, task.due_in);
  if (fired.stuck > 0 && !stuck_) {
    runtime::Log(runtime::LogLevel::kError,
                 "schedules cannot fire here: this host does not know their time zones");
  }
  stuck_ = fired.stuck > 0;
  return fired.moved > 0;
}

void Ticker::NoteOutcome(const absl::Status& status) {
  // Logged once when it begins and once when it ends.
  const bool was_failing = std::exchange(failing_, !status.ok());
  if (!status.ok() && !was_failing) {
    runtime::Log(runtime::LogLevel::kWarn, "schedules wait for the database",
                 {{"error", std::string(status.message())}});
  } else if (status.ok() && was_failing) {
    runtime::Log(runtime::LogLevel::kInfo, "schedules go on");
  }
}

}  // namespace parley::scheduler
