#include "db/model/firing_plan.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/fingerprint.h"

namespace parley {
namespace {

constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();

void Append(const std::vector<Occurrence>& occurrences, std::vector<absl::Time>& times) {
  for (const Occurrence& occurrence : occurrences) times.push_back(occurrence.time);
}

// How many of those that are late may be left.
std::int64_t LateLimit(const Schedule& schedule, bool has_punctual) {
  switch (schedule.misfire_policy) {
    case MisfirePolicy::kSkip:
      return 0;
    case MisfirePolicy::kLatest:
      return has_punctual ? 0 : 1;
    case MisfirePolicy::kAll:
      return schedule.misfire_limit;
  }
  return 0;
}

// Those that wait their turn: one that has waited before, then the others.
std::vector<absl::Time> InTheirOrder(const Schedule& schedule, const std::vector<absl::Time>& due) {
  std::vector<absl::Time> firings;
  if (schedule.buffered_fire_time) firings.push_back(*schedule.buffered_fire_time);
  firings.insert(firings.end(), due.begin(), due.end());
  return firings;
}

}  // namespace

DueFirings FindDueFirings(const Schedule& schedule, const Recurrence& recurrence, absl::Time now) {
  const absl::Time from = schedule.considered_until;
  now = std::max(now, from);  // clocks go backwards, firings do not
  const absl::Time late_until = std::max(from, now - kFiringGrace);
  const absl::Time window_begin = std::max(from, now - schedule.catch_up_window);
  const std::vector<Occurrence> punctual = recurrence.First(late_until, now, kNoLimit);

  DueFirings due;
  if (const std::int64_t limit = LateLimit(schedule, !punctual.empty()); limit > 0) {
    Append(recurrence.Last(window_begin, late_until, limit), due.times);
  }
  due.late = static_cast<std::int64_t>(due.times.size());
  Append(punctual, due.times);
  due.missed = recurrence.Count(from, now) - static_cast<std::int64_t>(due.times.size());
  if (const std::optional<Occurrence> next = recurrence.Next(now)) due.next = next->time;
  return due;
}

DueFirings FirstOfLate(DueFirings due, std::int64_t limit) {
  const auto count = static_cast<std::size_t>(std::min(due.late, limit));
  if (count == due.times.size()) return due;
  due.late = static_cast<std::int64_t>(count);
  due.until = due.times[count - 1];
  due.next = due.times[count];
  due.times.resize(count);
  return due;
}

FiringPlan PlanFirings(const Schedule& schedule, bool has_task,
                       const std::vector<absl::Time>& due) {
  FiringPlan plan;
  std::vector<absl::Time> firings = InTheirOrder(schedule, due);
  if (schedule.overlap_policy == OverlapPolicy::kAllow) {
    plan.create = std::move(firings);
    return plan;
  }
  if (schedule.overlap_policy == OverlapPolicy::kCancelOther) {
    if (firings.empty()) return plan;
    plan.create = {firings.back()};
    plan.cancel_others = has_task;
    plan.overlapped = static_cast<std::int64_t>(firings.size()) - 1;
    return plan;
  }
  for (const absl::Time firing : firings) {
    if (!has_task) {
      plan.create.push_back(firing);
      has_task = true;
    } else if (schedule.overlap_policy == OverlapPolicy::kBufferOne && !plan.buffer) {
      plan.buffer = firing;
      if (firing != schedule.buffered_fire_time) ++plan.buffered;
    } else {
      ++plan.overlapped;
    }
  }
  return plan;
}

absl::Duration JitterOf(const Schedule& schedule, absl::Time fire_time) {
  const std::int64_t range = absl::ToInt64Microseconds(schedule.jitter);
  if (range <= 0) return absl::ZeroDuration();
  const std::string digest = Fingerprint(
      {"jitter", absl::StrCat(schedule.id), absl::StrCat(absl::ToUnixMicros(fire_time))});
  std::uint64_t number = 0;
  // 60 bits of it.
  if (!absl::SimpleHexAtoi(digest.substr(0, 15), &number)) return absl::ZeroDuration();
  return absl::Microseconds(static_cast<std::int64_t>(number % static_cast<std::uint64_t>(range)));
}

}  // namespace parley
