// Text as callers count it: Unicode code points, not bytes. utf8proc does the Unicode work.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "base/error.h"

namespace parley {

// Number of code points, or nullopt if `text` is not well-formed UTF-8.
std::optional<std::size_t> CountCodePoints(absl::string_view text);

// The form in which logins are compared: Unicode NFKC with case folded and invisible characters
// left out, so that "Ann", "ANN" and full-width "Ａｎｎ" are one login. nullopt if `text` is not
// well-formed UTF-8.
std::optional<std::string> FoldLogin(absl::string_view text);

// The longest beginning of `text` that has at most `max_bytes` bytes and does not end inside a
// character.
absl::string_view CutText(absl::string_view text, std::size_t max_bytes);

// Limits, in code points, of one text field.
struct TextLimits {
  std::size_t min = 0;
  std::size_t max = 0;
};

// Adds a violation for `field` if `text` is not UTF-8, holds U+0000 (PostgreSQL cannot store it),
// or has fewer or more code points than allowed.
void CheckText(absl::string_view field, absl::string_view text, TextLimits limits,
               Violations& violations);

// Adds a violation for `field` unless `id` is empty or 1..64 printable ASCII characters without
// spaces.
void CheckRequestId(absl::string_view field, absl::string_view id, Violations& violations);
inline void CheckRequestId(absl::string_view id, Violations& violations) {
  CheckRequestId("request_id", id, violations);
}

}  // namespace parley
