#include "services/scheduler/ticker.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "services/runtime/log.h"

namespace parley::scheduler {
namespace {

constexpr std::int32_t kMostOfAKind = 100;
constexpr absl::Duration kTickPatience = absl::Seconds(5);
// Between two looks when others have their hands on what is due, or when tasks end all the time.
constexpr absl::Duration kShortestRest = absl::Milliseconds(20);
constexpr absl::Duration kRestAfterFailure = absl::Seconds(30);

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
      if (std::exchange(hinted_, false)) {
        // What has changed may be what was wrong.
        for (auto& [id, until] : resting_) until = absl::InfinitePast();
      }
      ended_ = false;
    }
    const absl::Time again = Tick();
    const absl::Time rested = std::min(again, SteadyNow() + kShortestRest);
    MutexLock lock(mutex_);
    while (!stopping_ && !hinted_ && SteadyNow() < (ended_ ? rested : again)) {
      wake_.WaitUntil(mutex_, ended_ ? rested : again);
    }
  }
}

absl::Time Ticker::Tick() {
  const absl::Time look = SteadyNow() + parts_.look_interval * absl::Uniform(random_, 0.9, 1.0);
  const auto next = parts_.schedules.FindNextFiring(Resting(), SteadyNow() + kTickPatience);
  NoteOutcome(next.status());
  if (!next.ok()) return look;
  {
    // Before the firing, which sees what has ended before.
    MutexLock lock(mutex_);
    buffering_ = next->buffering;
  }
  const bool is_due = next->due_in <= absl::ZeroDuration();
  if (!is_due && !next->buffering) return std::min(look, SteadyNow() + next->due_in);

  const absl::StatusOr<bool> more = Fire();
  NoteOutcome(more.status());
  if (!more.ok()) return look;
  if (*more) return SteadyNow();
  return is_due ? SteadyNow() + kShortestRest : std::min(look, SteadyNow() + next->due_in);
}

absl::StatusOr<bool> Ticker::Fire() {
  PARLEY_ASSIGN_OR_RETURN(
      std::vector<std::int64_t> due,
      parts_.schedules.FindDue({kMostOfAKind, /*except=*/Resting()}, SteadyNow() + kTickPatience));
  if (due.empty()) return false;
  due.resize(std::min(due.size(), at_once_));
  const auto fired = parts_.schedules.Fire(due, SteadyNow() + kTickPatience);
  if (!fired.ok()) {
    PARLEY_RETURN_IF_ERROR(GiveWay(due, fired.status()));
    return true;
  }
  at_once_ = std::min(2 * at_once_, kMostAtOnce);
  for (const auto& task : fired->tasks) parts_.dispatcher.TaskReady(task.queue, task.due_in);
  for (const std::int64_t id : fired->moved) resting_.erase(id);
  for (const std::int64_t id : fired->stuck) LetRest(id, "this host does not know its time zone");
  return !fired->moved.empty();
}

absl::Status Ticker::GiveWay(const std::vector<std::int64_t>& tried, const absl::Status& status) {
  // Without a database none is at fault.
  if (absl::IsUnavailable(status) || IsStopping()) return status;
  const bool was_slow = absl::IsDeadlineExceeded(status) || absl::IsAborted(status);
  // Whoever is alone for want of others may only have come at a bad time.
  if (tried.size() == 1 && (!was_slow || at_once_ == 1)) {
    LetRest(tried.front(), status.message());
    return absl::OkStatus();
  }
  at_once_ = std::max<std::size_t>(1, (was_slow ? at_once_ : tried.size()) / 2);
  return was_slow ? status : absl::OkStatus();
}

void Ticker::LetRest(std::int64_t schedule_id, absl::string_view why) {
  const bool is_new =
      resting_.insert_or_assign(schedule_id, SteadyNow() + kRestAfterFailure).second;
  if (!is_new) return;  // has been told of
  runtime::Log(runtime::LogLevel::kError, "a schedule cannot fire here",
               {{"schedule_id", absl::StrCat(schedule_id)}, {"why", std::string(why)}});
}

std::vector<std::int64_t> Ticker::Resting() const {
  const absl::Time now = SteadyNow();
  std::vector<std::int64_t> ids;
  for (const auto& [id, until] : resting_) {
    if (until > now) ids.push_back(id);
  }
  return ids;
}

bool Ticker::IsStopping() {
  MutexLock lock(mutex_);
  return stopping_;
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
