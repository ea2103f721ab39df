// What becomes of a schedule's firings when their time has come. Pure functions: any thread may
// call them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "base/recurrence.h"
#include "db/model/schedule.h"

namespace parley {

// A firing that is later than this has been missed.
inline constexpr absl::Duration kFiringGrace = absl::Seconds(10);

// What the misfire policy leaves of the firings since `considered_until`, of which the last ones
// may be too late.
struct DueFirings {
  std::vector<absl::Time> times;    // in their order
  std::int64_t late = 0;            // how many of them, the first ones, are
  std::int64_t missed = 0;          // how many are discarded
  std::optional<absl::Time> next;   // the first one after these
  std::optional<absl::Time> until;  // up to when that is all; absent: up to now
};

// Firings that are not late are left in any case. Of those that are, within the catch-up window,
//   kSkip    leaves none
//   kLatest  leaves the last one, unless there is one that is not late
//   kAll     leaves the last `misfire_limit`
DueFirings FindDueFirings(const Schedule& schedule, const Recurrence& recurrence, absl::Time now);

// Of `due`, the first `limit` of those that are late; the others are found again when these have
// been dealt with. So a catch-up may go in steps: what is discarded came before the first of them,
// and is counted with it. Those that are in time stay together, so that none becomes late between
// two steps. There must be a late one, and `limit` be positive.
DueFirings FirstOfLate(DueFirings due, std::int64_t limit);

// What the overlap policy makes of them.
struct FiringPlan {
  std::vector<absl::Time> create;    // get their tasks now
  bool cancel_others = false;        // what tasks there are, are to be cancelled first
  std::optional<absl::Time> buffer;  // waits until the schedule has no task any more
  std::int64_t buffered = 0;         // how many have begun to wait
  std::int64_t overlapped = 0;       // how many are discarded
};

// `has_task`: whether the schedule has a task that has not ended. One that waits goes first, before
// the `due` ones.
//   policy        without a task     with a task
//   kSkip         one is created     all are discarded
//   kBufferOne    one is created     one waits, if none does; the others are discarded
//   kAllow        all are created    all are created
//   kCancelOther  the last is created, the others are discarded; the task is cancelled
FiringPlan PlanFirings(const Schedule& schedule, bool has_task, const std::vector<absl::Time>& due);

// How much later than its firing a task is due: less than the schedule's jitter, and always the
// same for the same firing.
absl::Duration JitterOf(const Schedule& schedule, absl::Time fire_time);

}  // namespace parley
