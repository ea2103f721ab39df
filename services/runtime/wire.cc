#include "services/runtime/wire.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace parley::runtime {

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
