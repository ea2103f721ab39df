#include "db/adopt/label_map.h"

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "db/adopt/sql_quote.h"

namespace parley::adopt {

absl::StatusOr<LabelMap> LabelMap::Parse(const std::vector<std::string>& given,
                                         std::vector<std::string> ours) {
  LabelMap map(std::move(ours));
  for (const std::string& text : given) {
    // A label may hold any character; none of ours has '='.
    const std::size_t equals = text.rfind('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(absl::StrCat("'", text, "' is not LABEL=", map.OursText()));
    }
    const std::string label = text.substr(0, equals);
    const std::optional<std::string> meaning = map.OursLike(text.substr(equals + 1));
    if (!meaning) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", text, "': a label can mean ", map.OursText()));
    }
    for (const auto& [known, its_meaning] : map.given_) {
      if (known == label && its_meaning != *meaning) {
        return absl::InvalidArgumentError(absl::StrCat("'", label, "' is given two meanings"));
      }
    }
    map.given_.emplace_back(label, *meaning);
  }
  return map;
}

std::optional<std::string> LabelMap::OursLike(absl::string_view label) const {
  for (const std::string& ours : ours_) {
    if (absl::EqualsIgnoreCase(ours, label)) return ours;
  }
  return std::nullopt;
}

std::optional<std::string> LabelMap::MeaningOf(absl::string_view label) const {
  for (const auto& [known, meaning] : given_) {
    if (known == label) return meaning;
  }
  return OursLike(label);
}

std::vector<std::string> LabelMap::GivenLabels() const {
  std::vector<std::string> labels;
  for (const auto& [label, meaning] : given_) labels.push_back(label);
  return labels;
}

std::string LabelMap::MeaningSql(absl::string_view expression,
                                 const std::vector<std::string>& labels) const {
  std::string sql = absl::StrCat("CASE ", expression, "::text");
  bool has_meaning = false;
  for (const std::string& label : labels) {
    const std::optional<std::string> meaning = MeaningOf(label);
    if (!meaning) continue;
    absl::StrAppend(&sql, " WHEN ", QuoteLiteral(label), " THEN ", QuoteLiteral(*meaning));
    has_meaning = true;
  }
  return has_meaning ? absl::StrCat(sql, " END") : "NULL::text";
}

std::string LabelMap::OursText() const {
  std::string text;
  for (std::size_t i = 0; i < ours_.size(); ++i) {
    if (i > 0) text += i + 1 == ours_.size() ? " or " : ", ";
    text += absl::AsciiStrToUpper(ours_[i]);
  }
  return text;
}

}  // namespace parley::adopt
