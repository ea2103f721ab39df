// What the labels of the original's enums mean. The document that the original is known from names
// neither all members of ChatType nor of UserStatus, so a database may have any.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::adopt {

// Immutable once parsed, so any thread may read it.
class LabelMap {
 public:
  // `given` are "LABEL=OURS", OURS in any case. INVALID_ARGUMENT, naming the one at fault, if one
  // has another form, means none of `ours`, or gives a label a second meaning.
  static absl::StatusOr<LabelMap> Parse(const std::vector<std::string>& given,
                                        std::vector<std::string> ours);

  // What was given for the label; else ours that is equal to it, case aside; else nullopt.
  std::optional<std::string> MeaningOf(absl::string_view label) const;

  // The labels that something was given for.
  std::vector<std::string> GivenLabels() const;

  // An SQL expression: our label for the value of `expression`, which is one of `labels`; NULL for
  // NULL and for what has no meaning.
  std::string MeaningSql(absl::string_view expression,
                         const std::vector<std::string>& labels) const;

  // "PRIVATE, GROUP or CHANNEL"
  std::string OursText() const;

 private:
  explicit LabelMap(std::vector<std::string> ours) : ours_(std::move(ours)) {}
  std::optional<std::string> OursLike(absl::string_view label) const;

  std::vector<std::string> ours_;  // lower case
  std::vector<std::pair<std::string, std::string>> given_;
};

}  // namespace parley::adopt
