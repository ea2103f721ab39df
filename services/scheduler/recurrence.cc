#include "services/scheduler/recurrence.h"

#include <cstdint>

namespace parley::scheduler {

std::optional<Occurrence> Recurrence::NextOf(const Cron& cron, absl::Time after) {
  return cron.expression.Next(after, cron.zone);
}

std::optional<Occurrence> Recurrence::NextOf(const Interval& interval, absl::Time after) {
  if (after < interval.anchor) return Occurrence{interval.anchor};
  absl::Duration since_last;
  absl::IDivDuration(after - interval.anchor, interval.length, &since_last);
  return Occurrence{after - since_last + interval.length};
}

std::optional<Occurrence> Recurrence::Next(absl::Time after) const {
  return std::visit([after](const auto& rule) { return NextOf(rule, after); }, rule_);
}

std::vector<Occurrence> Recurrence::Between(absl::Time after, absl::Time until,
                                            std::size_t limit) const {
  std::vector<Occurrence> found;
  for (std::optional<Occurrence> next = Next(after);
       next && next->time <= until && found.size() < limit; next = Next(next->time)) {
    found.push_back(*next);
  }
  return found;
}

}  // namespace parley::scheduler
