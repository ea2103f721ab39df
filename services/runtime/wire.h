// Wire types that every service converts: times, update masks, etags.
#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/error.h"

namespace parley::runtime {

// To the microsecond, as the database keeps it.
google::protobuf::Timestamp ToTimestamp(absl::Time time);

// Those of a request. nullopt, and a violation for `field`, if it is out of the type's range.
std::optional<absl::Time> FromTimestamp(absl::string_view field,
                                        const google::protobuf::Timestamp& time,
                                        Violations& violations);
std::optional<absl::Duration> FromDuration(absl::string_view field,
                                           const google::protobuf::Duration& duration,
                                           Violations& violations);

google::protobuf::Duration ToDuration(absl::Duration duration);

// The fields that an update is to change. Without a mask: those of `populated`. "*": all of
// `changeable`. Adds a violation for `update_mask` for each path that is not in `changeable`.
std::set<std::string> FieldsToUpdate(const google::protobuf::FieldMask* mask,
                                     const std::vector<std::string>& changeable,
                                     const std::vector<std::string>& populated,
                                     Violations& violations);

// An etag is a version number as text.
std::string ToEtag(std::int64_t version);

// The version that an update insists on: absent for an empty etag; one that no row has for an etag
// that is not ours, so that it mismatches like any outdated one.
std::optional<std::int64_t> VersionFromEtag(absl::string_view etag);

}  // namespace parley::runtime
