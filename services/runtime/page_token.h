// Pages of lists: the fields limit, offset and page_token, the same in every list request.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/error.h"

namespace parley::runtime {

// A URL-safe token that holds `position` (what the list is keyed by, as text) and a digest of it
// and of `binding`: the method and every field of the request that shapes the list (not limit,
// offset or page_token). The digest tells tampering and mix-ups; a token gives no right to
// anything.
std::string EncodePageToken(absl::string_view binding, absl::string_view position);

// The position. INVALID_ARGUMENT, field page_token, if the token is not one that EncodePageToken
// made for the same binding.
absl::StatusOr<std::string> DecodePageToken(absl::string_view binding, absl::string_view token);

// The page fields of a request as they came.
struct PageFields {
  std::int32_t limit = 0;
  std::int64_t offset = 0;
  absl::string_view token;
};

// How many rows a page has.
struct PageLimits {
  std::int32_t standard = 20;  // when the caller does not say
  std::int32_t max = 100;      // when the caller says more
};

// What they mean. `position` is where the page before ended; absent on the first page.
struct PageRequest {
  std::int32_t limit = 0;
  std::int64_t offset = 0;
  std::optional<std::string> position;

  // The position, for lists that are keyed by a number.
  std::optional<std::int64_t> number() const;
};

// Checks the fields against each other and `binding`. Adds violations for negative values, for an
// offset together with a token, and for a token that is not of this list.
PageRequest CheckPage(const PageFields& fields, absl::string_view binding, PageLimits limits,
                      Violations& violations);

}  // namespace parley::runtime
