#include "base/text.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace parley {
namespace {

constexpr std::size_t kMaxRequestIdLength = 64;

const utf8proc_uint8_t* Bytes(absl::string_view text) {
  return reinterpret_cast<const utf8proc_uint8_t*>(text.data());
}

}  // namespace

std::optional<std::size_t> CountCodePoints(absl::string_view text) {
  std::size_t count = 0;
  while (!text.empty()) {
    utf8proc_int32_t code_point = 0;
    const utf8proc_ssize_t length =
        utf8proc_iterate(Bytes(text), static_cast<utf8proc_ssize_t>(text.size()), &code_point);
    if (length <= 0) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(length));
    ++count;
  }
  return count;
}

std::optional<std::string> FoldLogin(absl::string_view text) {
  utf8proc_uint8_t* folded = nullptr;
  const utf8proc_ssize_t length = utf8proc_map(
      Bytes(text), static_cast<utf8proc_ssize_t>(text.size()), &folded,
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT |
                                     UTF8PROC_CASEFOLD | UTF8PROC_IGNORE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(folded, &std::free);
  if (length < 0) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(folded), static_cast<std::size_t>(length));
}

absl::string_view CutText(absl::string_view text, std::size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  // A character's bytes after its first are 10xxxxxx.
  while (max_bytes > 0 && (static_cast<unsigned char>(text[max_bytes]) & 0xC0) == 0x80) --max_bytes;
  return text.substr(0, max_bytes);
}

void CheckText(absl::string_view field, absl::string_view text, TextLimits limits,
               Violations& violations) {
  const std::optional<std::size_t> length = CountCodePoints(text);
  if (!length) return violations.Add(field, "must be valid UTF-8");
  if (text.find('\0') != absl::string_view::npos) {
    violations.Add(field, "must not contain U+0000");
  }
  if (*length < limits.min) {
    violations.Add(field, limits.min == 1
                              ? std::string("must not be empty")
                              : absl::StrCat("must have at least ", limits.min, " characters"));
  } else if (*length > limits.max) {
    violations.Add(field,
                   absl::StrCat("must have at most ", limits.max, " characters, has ", *length));
  }
}

void CheckRequestId(absl::string_view field, absl::string_view id, Violations& violations) {
  if (id.size() > kMaxRequestIdLength) {
    violations.Add(field, absl::StrCat("must have at most ", kMaxRequestIdLength,
                                       " characters, has ", id.size()));
  } else if (!std::all_of(id.begin(), id.end(),
                          [](unsigned char c) { return absl::ascii_isgraph(c); })) {
    violations.Add(field, "must be printable ASCII without spaces");
  }
}

}  // namespace parley
