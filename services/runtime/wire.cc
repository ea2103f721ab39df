#include "services/runtime/wire.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace parley::runtime {
namespace {

// Timestamps reach from the beginning of year 1 to the end of year 9999, durations about 10,000
// years.
constexpr std::int64_t kFirstSecond = -62135596800;
constexpr std::int64_t kLastSecond = 253402300799;
constexpr std::int64_t kMaxDurationSeconds = 315576000000;
constexpr std::int32_t kNanosPerSecond = 1'000'000'000;

}  // namespace

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  const std::int64_t micros = absl::ToUnixMicros(time);
  google::protobuf::Timestamp timestamp;
  // Rounded down, because nanos count upward before 1970 too.
  std::int64_t seconds = micros / 1'000'000;
  std::int64_t rest = micros % 1'000'000;
  if (rest < 0) {
    --seconds;
    rest += 1'000'000;
  }
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(static_cast<std::int32_t>(rest * 1'000));
  return timestamp;
}

std::optional<absl::Time> FromTimestamp(absl::string_view field,
                                        const google::protobuf::Timestamp& time,
                                        Violations& violations) {
  if (time.seconds() < kFirstSecond || time.seconds() > kLastSecond || time.nanos() < 0 ||
      time.nanos() >= kNanosPerSecond) {
    violations.Add(field, "must be a time between the years 1 and 9999, with 0 to 999999999 nanos");
    return std::nullopt;
  }
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

std::optional<absl::Duration> FromDuration(absl::string_view field,
                                           const google::protobuf::Duration& duration,
                                           Violations& violations) {
  const std::int64_t seconds = duration.seconds();
  const std::int32_t nanos = duration.nanos();
  const bool same_sign = (seconds <= 0 && nanos <= 0) || (seconds >= 0 && nanos >= 0);
  if (!same_sign || seconds < -kMaxDurationSeconds || seconds > kMaxDurationSeconds ||
      nanos <= -kNanosPerSecond || nanos >= kNanosPerSecond) {
    violations.Add(field, "must be a duration whose seconds and nanos agree in sign");
    return std::nullopt;
  }
  return absl::Seconds(seconds) + absl::Nanoseconds(nanos);
}

google::protobuf::Duration ToDuration(absl::Duration duration) {
  google::protobuf::Duration result;
  result.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
  result.set_nanos(static_cast<std::int32_t>(absl::ToInt64Nanoseconds(duration)));
  return result;
}

std::set<std::string> FieldsToUpdate(const google::protobuf::FieldMask* mask,
                                     const std::vector<std::string>& changeable,
                                     const std::vector<std::string>& populated,
                                     Violations& violations) {
  if (mask == nullptr || mask->paths().empty()) return {populated.begin(), populated.end()};
  std::set<std::string> fields;
  for (const std::string& path : mask->paths()) {
    if (path == "*") {
      fields.insert(changeable.begin(), changeable.end());
    } else if (std::find(changeable.begin(), changeable.end(), path) != changeable.end()) {
      fields.insert(path);
    } else {
      violations.Add("update_mask",
                     absl::StrCat("must name only ", absl::StrJoin(changeable, ", "), " or be *"));
    }
  }
  return fields;
}

std::string ToEtag(std::int64_t version) { return absl::StrCat(version); }

std::optional<std::int64_t> VersionFromEtag(absl::string_view etag) {
  if (etag.empty()) return std::nullopt;
  std::int64_t version = 0;
  constexpr std::int64_t kNoVersion = -1;
  return absl::SimpleAtoi(etag, &version) ? version : kNoVersion;
}

}  // namespace parley::runtime
