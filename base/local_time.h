// Civil time: what the clock on a wall shows, as an instant.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/error.h"

namespace parley {

// Whether `name` is an IANA zone that the host has data for: "Europe/Berlin", "UTC". No paths, no
// "localtime" and no POSIX rules.
bool IsKnownTimeZone(absl::string_view name);

// How a local time became an instant.
enum class LocalTimeResolution { kUnique, kShifted, kAmbiguous };
// What to do with a local time that a change of the zone's offset skips, or repeats.
enum class GapPolicy { kShift, kReject };
enum class FoldPolicy { kFirst, kSecond, kReject };

struct LocalTime {
  std::string date_time;  // as given
  std::string time_zone;  // empty: the default one
  GapPolicy gap_policy = GapPolicy::kShift;
  FoldPolicy fold_policy = FoldPolicy::kFirst;
  LocalTimeResolution resolution = LocalTimeResolution::kUnique;  // once resolved
};

struct ResolvedLocalTime {
  absl::Time instant;
  LocalTime local_time;  // with time_zone and resolution filled in
};

// The instant at which clocks in local_time.time_zone (empty: default_zone, a known one) show
// local_time.date_time, which must read YYYY-MM-DDTHH:MM:SS with at most six digits of a fraction.
// A time in a gap is shifted by the gap's size, one in a fold is the first or the second of two, or
// the policies refuse it. nullopt: something was added to `violations`, with the field's path,
// which begins with "local_time.".
std::optional<ResolvedLocalTime> ResolveLocalTime(const LocalTime& local_time,
                                                  absl::string_view default_zone,
                                                  Violations& violations);

}  // namespace parley
