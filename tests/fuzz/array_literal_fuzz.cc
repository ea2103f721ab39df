// What ArrayLiteral writes is what PostgreSQL reads: its rules (array_in) are written down here
// once more.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "db/core/session.h"
#include "tests/fuzz/expect.h"

namespace {

// The elements of a one-dimensional text[] whose elements are all quoted; nullopt if it is not one.
std::optional<std::vector<std::string>> ReadArray(absl::string_view text) {
  if (text.size() < 2 || text.front() != '{' || text.back() != '}') return std::nullopt;
  text = text.substr(1, text.size() - 2);
  std::vector<std::string> elements;
  std::size_t at = 0;
  while (at < text.size()) {
    if (!elements.empty() && text[at++] != ',') return std::nullopt;
    if (at >= text.size() || text[at++] != '"') return std::nullopt;
    std::string element;
    while (at < text.size() && text[at] != '"') {
      if (text[at] == '\\' && ++at == text.size()) return std::nullopt;
      element.push_back(text[at++]);
    }
    if (at++ >= text.size()) return std::nullopt;  // the quote that ends it
    elements.push_back(element);
  }
  return elements;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  // 0xFF is in no UTF-8, so it may stand between the elements.
  const std::vector<std::string> elements = absl::StrSplit(input, '\xff');
  PARLEY_FUZZ_EXPECT(ReadArray(parley::db::ArrayLiteral(elements)) == elements);
  PARLEY_FUZZ_EXPECT(parley::db::ArrayLiteral(std::vector<std::string>()) == "{}");
  return 0;
}
