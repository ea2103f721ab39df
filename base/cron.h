// Cron expressions: when clocks in a zone show what somebody wrote on one line.
//
// Five fields, minute hour day-of-month month day-of-week, or six with the seconds before them.
//
//   *        every value              5        one value (months JAN-DEC, days SUN-SAT too)
//   1-5      a range                  1,3,5    a list of anything here
//   */15     every 15th               10-30/5  every 5th of a range
//
// 0 and 7 are Sunday. If neither day field begins with *, a day counts that suits one of the two;
// otherwise it has to suit both (crontab(5)). @yearly and @annually are 0 0 1 1 *, @monthly
// 0 0 1 * *, @weekly 0 0 * * 0, @daily and @midnight 0 0 * * *, @hourly 0 * * * *.
//
// What happens when a zone changes its offset depends on the hour field, as in Debian's cron:
//
//   hour field                              time in a gap             time in a fold
//   values and ranges ("daily": 30 2)       once, shifted by the gap  once, the first of the two
//   with * or a step, or all 24 hours       left out                  both times
//
// So a daily job runs once a day, and what runs every hour or more often keeps its pace. A shifted
// time is the one that base/local_time.h shifts to. If it is that of another match, they are one.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "base/local_time.h"

namespace parley {

// A point in time at which something recurs.
struct Occurrence {
  absl::Time time;
  LocalTimeResolution resolution = LocalTimeResolution::kUnique;
};

// A value; copying is cheap. Its const methods may be called by any thread.
class CronExpression {
 public:
  // INVALID_ARGUMENT, with a message that names the field and what is wrong with it; also for what
  // never happens, such as February 30.
  static absl::StatusOr<CronExpression> Parse(absl::string_view text);

  // The first occurrence later than `after`, in a whole second. nullopt: none within 50 years
  // (29 February on a Sunday may be 40 years away), or none before the year 2400, up to which the
  // changes of zones are worked out. Costs a few microseconds; a rare one up to a millisecond.
  std::optional<Occurrence> Next(absl::Time after, const absl::TimeZone& zone) const;

  // How many occurrences are later than `after` and not later than `until`: as many as Next would
  // find, at the cost of a look at every day.
  std::int64_t Count(absl::Time after, absl::Time until, const absl::TimeZone& zone) const;

 private:
  CronExpression() = default;

  bool MatchesDay(absl::CivilDay day) const;
  // The first match at or after `from` and before `end`.
  std::optional<absl::CivilSecond> NextMatch(absl::CivilSecond from, absl::CivilSecond end) const;
  // The same inside the day that `from` is of.
  std::optional<absl::CivilSecond> NextMatchInDay(absl::CivilSecond from) const;
  // How many there are at or after `from` and before `end`.
  std::int64_t CountMatches(absl::CivilSecond from, absl::CivilSecond end) const;
  // How many times of a day that matches are before that of `time`.
  std::int64_t TimesBefore(absl::CivilSecond time) const;
  std::int64_t TimesOfDay() const;

  // Bit n: the value n. Constant after construction.
  std::uint64_t seconds_ = 1;
  std::uint64_t minutes_ = 0;
  std::uint64_t hours_ = 0;
  std::uint64_t days_ = 0;
  std::uint64_t months_ = 0;
  std::uint64_t weekdays_ = 0;  // Sunday is 0
  bool either_day_ = false;     // a day suits one of the day fields, not both
  bool keeps_pace_ = false;     // of the two rules for changes of offset, the second
};

}  // namespace parley
