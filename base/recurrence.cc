#include "base/recurrence.h"

#include <algorithm>
#include <cstdint>

namespace parley {
namespace {

// Times are kept to the microsecond.
constexpr absl::Duration kTick = absl::Microseconds(1);

}  // namespace

void Recurrence::Limit(absl::Time begin, absl::Time end) {
  before_begin_ = begin - kTick;
  before_end_ = end - kTick;
}

std::optional<Occurrence> Recurrence::NextOf(const Cron& cron, absl::Time after) {
  return cron.expression.Next(after, cron.zone);
}

std::optional<Occurrence> Recurrence::NextOf(const Interval& interval, absl::Time after) {
  if (after < interval.anchor) return Occurrence{interval.anchor};
  absl::Duration since_last;
  absl::IDivDuration(after - interval.anchor, interval.length, &since_last);
  return Occurrence{after - since_last + interval.length};
}

std::int64_t Recurrence::CountOf(const Cron& cron, absl::Time after, absl::Time until) {
  return cron.expression.Count(after, until, cron.zone);
}

std::int64_t Recurrence::CountOf(const Interval& interval, absl::Time after, absl::Time until) {
  // How many there are up to `time`.
  const auto up_to = [&](absl::Time time) -> std::int64_t {
    if (time < interval.anchor) return 0;
    absl::Duration rest;
    return 1 + absl::IDivDuration(time - interval.anchor, interval.length, &rest);
  };
  return up_to(until) - up_to(after);
}

std::optional<Occurrence> Recurrence::Next(absl::Time after) const {
  after = std::max(after, before_begin_);
  const std::optional<Occurrence> next =
      std::visit([after](const auto& rule) { return NextOf(rule, after); }, rule_);
  return next && next->time <= before_end_ ? next : std::nullopt;
}

std::vector<Occurrence> Recurrence::First(absl::Time after, absl::Time until,
                                          std::int64_t limit) const {
  std::vector<Occurrence> found;
  for (std::optional<Occurrence> next = Next(after);
       next && next->time <= until && static_cast<std::int64_t>(found.size()) < limit;
       next = Next(next->time)) {
    found.push_back(*next);
  }
  return found;
}

std::vector<Occurrence> Recurrence::Last(absl::Time after, absl::Time until,
                                         std::int64_t limit) const {
  until = std::min(until, before_end_);
  // Widens its view backwards until it holds enough.
  absl::Time from = until;
  for (absl::Duration view = absl::Minutes(1); from > after && Count(from, until) < limit;
       view *= 4) {
    from = std::max(after, until - view);
  }
  const std::int64_t count = Count(from, until);
  std::vector<Occurrence> found = First(from, until, count);
  found.erase(found.begin(), found.end() - std::min(count, limit));
  return found;
}

std::int64_t Recurrence::Count(absl::Time after, absl::Time until) const {
  after = std::max(after, before_begin_);
  until = std::min(until, before_end_);
  if (after >= until) return 0;
  return std::visit([&](const auto& rule) { return CountOf(rule, after, until); }, rule_);
}

}  // namespace parley
