// When something recurs: by a cron expression in a zone, or by an interval.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "base/cron.h"

namespace parley {

// A value. Its const methods may be called by any thread.
class Recurrence {
 public:
  Recurrence(const CronExpression& cron, const absl::TimeZone& zone) : rule_(Cron{cron, zone}) {}
  // At `anchor`, and every `interval` (positive) of elapsed time after it; never before it.
  Recurrence(absl::Duration interval, absl::Time anchor) : rule_(Interval{interval, anchor}) {}

  // Keeps only what is at or after `begin` and before `end`.
  void Limit(absl::Time begin, absl::Time end);

  // The first occurrence later than `after`; nullopt: there is none (see CronExpression::Next).
  std::optional<Occurrence> Next(absl::Time after) const;

  // Of the occurrences later than `after` and not later than `until`: the first `limit`, in their
  // order; the last `limit`, in their order; how many there are.
  std::vector<Occurrence> First(absl::Time after, absl::Time until, std::int64_t limit) const;
  std::vector<Occurrence> Last(absl::Time after, absl::Time until, std::int64_t limit) const;
  std::int64_t Count(absl::Time after, absl::Time until) const;

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
  static std::int64_t CountOf(const Cron& cron, absl::Time after, absl::Time until);
  static std::int64_t CountOf(const Interval& interval, absl::Time after, absl::Time until);

  std::variant<Cron, Interval> rule_;
  absl::Time before_begin_ = absl::InfinitePast();  // later than this
  absl::Time before_end_ = absl::InfiniteFuture();  // not later than this
};

}  // namespace parley
