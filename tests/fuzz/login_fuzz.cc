// Who is told that a login is free must not meet it under another spelling: folding what is folded
// changes nothing.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "base/text.h"
#include "tests/fuzz/expect.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const std::optional<std::string> folded = parley::FoldLogin(text);
  PARLEY_FUZZ_EXPECT(folded.has_value() == parley::CountCodePoints(text).has_value());
  if (folded.has_value()) {
    PARLEY_FUZZ_EXPECT(parley::CountCodePoints(*folded).has_value());
    PARLEY_FUZZ_EXPECT(parley::FoldLogin(*folded) == folded);
    const absl::string_view cut = parley::CutText(text, size / 2);
    PARLEY_FUZZ_EXPECT(cut.size() <= size / 2 && parley::CountCodePoints(cut).has_value());
  }
  return 0;
}
