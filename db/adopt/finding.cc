#include "db/adopt/finding.h"

#include "absl/strings/str_cat.h"

namespace parley::adopt {

std::string ToText(const Finding& finding) {
  std::string text =
      absl::StrCat(finding.weight == Weight::kStops ? "STOPS    " : "handled  ", finding.name, ": ",
                   finding.count, "\n         ", finding.what, "\n");
  for (const std::string& row : finding.rows) absl::StrAppend(&text, "           ", row, "\n");
  const std::int64_t more = finding.count - static_cast<std::int64_t>(finding.rows.size());
  if (!finding.rows.empty() && more > 0) {
    absl::StrAppend(&text, "           and ", more, " more (--all-rows lists all)\n");
  }
  if (!finding.advice.empty()) absl::StrAppend(&text, "         do: ", finding.advice, "\n");
  return text;
}

}  // namespace parley::adopt
