// When something recurs: by a cron expression in a zone, or by an interval.
#pragma once

#include <cstddef>
#include <optional>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "services/scheduler/cron.h"

namespace parley::scheduler {

// A value. Its const methods may be called by any thread.
class Recurrence {
 public:
  Recurrence(const CronExpression& cron, const absl::TimeZone& zone) : rule_(Cron{cron, zone}) {}
  // At `anchor`, and every `interval` (positive) of elapsed time after it; never before it.
  Recurrence(absl::Duration interval, absl::Time anchor) : rule_(Interval{interval, anchor}) {}

  // The first occurrence later than `after`; nullopt: there is none (see CronExpression::Next).
  std::optional<Occurrence> Next(absl::Time after) const;

  // The occurrences later than `after` and not later than `until`, the first `limit` of them.
  std::vector<Occurrence> Between(absl::Time after, absl::Time until, std::size_t limit) const;

 private:
  struct Cron {
    CronExpression expression;
    absl::TimeZone zone;
  };
  struct Interval {
    absl::Duration length;
    absl::Time anchor;
  };
  static std::optional<Occurrence> NextOf(const Cron& cron, absl::Time after);
  static std::optional<Occurrence> NextOf(const Interval& interval, absl::Time after);

  std::variant<Cron, Interval> rule_;
};

}  // namespace parley::scheduler
