#include "services/runtime/page_token.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fingerprint.h"

namespace parley::runtime {
namespace {

// The first byte tells the format, so that a later one can be told apart.
constexpr char kVersion = '1';
constexpr std::size_t kDigestSize = 16;  // hex characters, 64 bits: tells mistakes, is no secret

std::string Digest(absl::string_view binding, absl::string_view position) {
  return Fingerprint({"page_token", binding, position}).substr(0, kDigestSize);
}

constexpr absl::string_view kBadToken =
    "is not the next_page_token of a page of the same list; send the other fields as they were, or "
    "start again without a token";

absl::Status BadToken() {
  Violations violations;
  violations.Add("page_token", kBadToken);
  return violations.ToStatus();
}

}  // namespace

std::string EncodePageToken(absl::string_view binding, absl::string_view position) {
  return absl::WebSafeBase64Escape(
      absl::StrCat(absl::string_view(&kVersion, 1), Digest(binding, position), position));
}

absl::StatusOr<std::string> DecodePageToken(absl::string_view binding, absl::string_view token) {
  std::string text;
  if (!absl::WebSafeBase64Unescape(token, &text) || text.size() < 1 + kDigestSize ||
      text.front() != kVersion) {
    return BadToken();
  }
  std::string position = text.substr(1 + kDigestSize);
  if (text.substr(1, kDigestSize) != Digest(binding, position)) return BadToken();
  return position;
}

std::optional<std::int64_t> PageRequest::number() const {
  std::int64_t value = 0;
  if (!position || !absl::SimpleAtoi(*position, &value)) return std::nullopt;
  return value;
}

PageRequest CheckPage(const PageFields& fields, absl::string_view binding, PageLimits limits,
                      Violations& violations) {
  PageRequest page;
  page.limit = fields.limit == 0 ? limits.standard : std::min(fields.limit, limits.max);
  page.offset = fields.offset;
  if (fields.limit < 0) violations.Add("limit", "must not be negative");
  if (fields.offset < 0) violations.Add("offset", "must not be negative");
  if (fields.token.empty()) return page;
  if (fields.offset != 0) {
    violations.Add("offset", "must be 0 when page_token is set");
    violations.Add("page_token", "must be empty when offset is set");
  }
  absl::StatusOr<std::string> position = DecodePageToken(binding, fields.token);
  if (position.ok()) {
    page.position = *std::move(position);
  } else {
    violations.Add("page_token", kBadToken);
  }
  return page;
}

}  // namespace parley::runtime
