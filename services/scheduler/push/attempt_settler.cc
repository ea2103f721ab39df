#include "services/scheduler/push/attempt_settler.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <future>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "services/scheduler/push/push_rules.h"

namespace parley::scheduler {
namespace {

constexpr absl::Duration kSettlePatience = absl::Seconds(10);
constexpr absl::Duration kSettlePause = absl::Milliseconds(500);
// Results can be large.
constexpr std::size_t kAcksAtOnce = 100;
constexpr std::size_t kEndsAtOnce = 500;

// Those from `begin` on, `count` at most.
template <class T>
std::vector<T> Slice(const std::vector<T>& all, std::size_t begin, std::size_t count) {
  const auto first = all.begin() + static_cast<std::ptrdiff_t>(begin);
  return {first, first + static_cast<std::ptrdiff_t>(std::min(count, all.size() - begin))};
}

}  // namespace

bool AttemptSettler::Ack(const std::vector<db::TaskAck>& acks) {
  for (std::size_t begin = 0; begin < acks.size();) {
    std::promise<absl::Status> answer;
    parts_.acker.Ack(Slice(acks, begin, kAcksAtOnce), SteadyNow() + kSettlePatience,
                     [&answer](const absl::StatusOr<std::vector<bool>>& held) {
                       answer.set_value(held.status());
                     });
    if (answer.get_future().get().ok()) {
      begin += kAcksAtOnce;
    } else if (!stop_.SleepFor(kSettlePause)) {
      return false;
    }
  }
  return true;
}

bool AttemptSettler::End(std::vector<AttemptEnd> ends) {
  for (AttemptEnd& end : ends) end.error = StorableError(end.error);
  for (std::size_t begin = 0; begin < ends.size();) {
    const auto moved =
        parts_.tasks.EndAttempts(Slice(ends, begin, kEndsAtOnce), SteadyNow() + kSettlePatience);
    if (moved.ok()) {
      parts_.dispatcher.TasksMoved(*moved);
      std::vector<std::int64_t> ids;
      for (const db::TaskRepository::Moved& task : *moved) ids.push_back(task.id);
      parts_.end_watch.TasksEnded(ids);
      begin += kEndsAtOnce;
    } else if (!stop_.SleepFor(kSettlePause)) {
      return false;
    }
  }
  return true;
}

}  // namespace parley::scheduler
