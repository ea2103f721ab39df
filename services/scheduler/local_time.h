// Civil time: what the clock on a wall shows, as an instant.
#pragma once

#include <optional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "db/model/task.h"

namespace parley::scheduler {

// Whether `name` is an IANA zone that the host has data for: "Europe/Berlin", "UTC". No paths, no
// "localtime" and no POSIX rules.
bool IsKnownTimeZone(absl::string_view name);

struct ResolvedLocalTime {
  absl::Time instant;
  TaskLocalTime local_time;  // with time_zone and resolution filled in
};

// The instant at which clocks in local_time.time_zone (empty: default_zone, a known one) show
// local_time.date_time, which must read YYYY-MM-DDTHH:MM:SS with at most six digits of a fraction.
// A time in a gap is shifted by the gap's size, one in a fold is the first or the second of two, or
// the policies refuse it. nullopt: something was added to `violations`, with the field's path,
// which begins with "local_time.".
std::optional<ResolvedLocalTime> ResolveLocalTime(const TaskLocalTime& local_time,
                                                  absl::string_view default_zone,
                                                  Violations& violations);

}  // namespace parley::scheduler
