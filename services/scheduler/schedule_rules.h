// What is a valid request about schedules, and what is meant where nothing is said. Pure functions:
// any thread may call them. Every check adds to `violations` all that is wrong, by field path.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "db/model/schedule.h"

namespace parley::scheduler {

inline constexpr std::int32_t kDefaultMisfireLimit = 100;
inline constexpr absl::Duration kDefaultCatchUpWindow = absl::Hours(24);

// Checks a spec and makes it ready: an empty zone becomes `default_zone`, times and durations get
// the precision that is stored. `prefix` is what comes before its fields: "schedule.spec.".
void PrepareSpec(absl::string_view prefix, absl::string_view default_zone, ScheduleSpec& spec,
                 Violations& violations);
// Checks what a schedule is to be, or what is to become different of one, and makes it ready;
// fields of `schedule`.
void PrepareSettings(absl::string_view default_zone, ScheduleSettings& settings,
                     Violations& violations);
void PrepareChange(absl::string_view default_zone, ScheduleChange& change, Violations& violations);

void CheckScheduleId(absl::string_view field, std::int64_t id, Violations& violations);
// What a schedule is looked for by.
void CheckScheduleName(absl::string_view field, absl::string_view name, Violations& violations);

// What BackfillSchedule takes; `limit` gets its default and its maximum, the times the precision
// that is stored.
struct BackfillRange {
  std::optional<absl::Time> start;
  std::optional<absl::Time> end;
  std::int32_t limit = 0;
};
void PrepareBackfill(BackfillRange& range, Violations& violations);

// What PreviewSchedule takes; `limit` gets its default and its maximum.
void PreparePreview(const std::optional<absl::Time>& after, std::int32_t& limit,
                    Violations& violations);

}  // namespace parley::scheduler
