#include "services/scheduler/zone_follower.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "services/runtime/log.h"

namespace parley::scheduler {
namespace {

constexpr std::int32_t kZonedAtOnce = 500;
constexpr absl::Duration kZonePatience = absl::Seconds(10);
constexpr absl::Duration kRestAfterZoneFailure = absl::Seconds(1);

}  // namespace

ZoneFollower::ZoneFollower(const Parts& parts) : parts_(parts), thread_([this] { Run(); }) {}

ZoneFollower::~ZoneFollower() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyOne();
  thread_.join();
}

void ZoneFollower::Run() {
  bool failing = false;
  while (!IsStopping()) {
    const absl::StatusOr<bool> more = Step();
    if (!more.ok() && !failing) {
      runtime::Log(runtime::LogLevel::kWarn, "changes of time zones cannot be looked for",
                   {{"error", std::string(more.status().message())}});
    }
    failing = !more.ok();
    if (failing && !Rest()) return;
    if (!failing && !*more) break;
  }
  if (schedules_moved_ + tasks_moved_ == 0) return;
  runtime::Log(runtime::LogLevel::kInfo, "time zones have changed",
               {{"tasks_moved", absl::StrCat(tasks_moved_)},
                {"schedules_moved", absl::StrCat(schedules_moved_)}});
}

absl::StatusOr<bool> ZoneFollower::Step() {
  const absl::Time deadline = SteadyNow() + kZonePatience;
  if (!schedules_followed_) {
    PARLEY_ASSIGN_OR_RETURN(const auto batch,
                            parts_.schedules.FollowZones(last_id_, kZonedAtOnce, deadline));
    schedules_moved_ += batch.moved;
    last_id_ = batch.last_id;
    schedules_followed_ = last_id_ == 0;
    return true;
  }
  PARLEY_ASSIGN_OR_RETURN(const auto batch,
                          parts_.tasks.FollowZones(last_id_, kZonedAtOnce, deadline));
  for (const std::string& queue : batch.queues) {
    parts_.dispatcher.TaskReady(queue, absl::Seconds(1));
  }
  tasks_moved_ += batch.moved;
  last_id_ = batch.last_id;
  return last_id_ > 0;
}

bool ZoneFollower::Rest() {
  const absl::Time until = SteadyNow() + kRestAfterZoneFailure;
  MutexLock lock(mutex_);
  while (!stopping_ && SteadyNow() < until) wake_.WaitUntil(mutex_, until);
  return !stopping_;
}

bool ZoneFollower::IsStopping() {
  MutexLock lock(mutex_);
  return stopping_;
}

}  // namespace parley::scheduler
