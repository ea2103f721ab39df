// A page token is taken for what it was made for, and for nothing else.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "services/runtime/page_token.h"
#include "tests/fuzz/expect.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using parley::runtime::DecodePageToken;
  using parley::runtime::EncodePageToken;
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  const auto position = DecodePageToken("ListChats", input);
  if (position.ok()) {
    PARLEY_FUZZ_EXPECT(DecodePageToken("ListChats", EncodePageToken("ListChats", *position)) ==
                       position);
    PARLEY_FUZZ_EXPECT(!DecodePageToken("ListUsers", input).ok());
  }
  const std::string token = EncodePageToken("ListChats", input);
  const auto decoded = DecodePageToken("ListChats", token);
  PARLEY_FUZZ_EXPECT(decoded.ok() && *decoded == input);
  PARLEY_FUZZ_EXPECT(!DecodePageToken("ListUsers", token).ok());
  return 0;
}
