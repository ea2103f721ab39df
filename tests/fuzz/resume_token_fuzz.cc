// A resume token is taken for whose it is, and holds every position.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/fingerprint.h"
#include "services/message/watch_token.h"
#include "tests/fuzz/expect.h"

namespace {

// A number that is not negative, of up to eight bytes of the input, whose number the first says.
std::int64_t Take(absl::string_view& input) {
  if (input.empty()) return 0;
  std::size_t bytes = static_cast<unsigned char>(input[0]) % 9;
  input.remove_prefix(1);
  if (bytes > input.size()) bytes = input.size();
  std::uint64_t number = 0;
  std::memcpy(&number, input.data(), bytes);
  input.remove_prefix(bytes);
  return static_cast<std::int64_t>(number >> 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using parley::message::DecodeResumeToken;
  using parley::message::EncodeResumeToken;
  constexpr std::int64_t kUser = 7;
  absl::string_view input(reinterpret_cast<const char*>(data), size);
  // As it came; and as somebody would make it who knows how, for the digest in it is no secret.
  const std::string digest = absl::HexStringToBytes(
      parley::Fingerprint({"resume_token", absl::StrCat(kUser), input}).substr(0, 16));
  for (const std::string& token :
       {std::string(input), absl::WebSafeBase64Escape(absl::StrCat("\x01", digest, input))}) {
    const auto read = DecodeResumeToken(kUser, token);
    if (!read.ok()) continue;
    PARLEY_FUZZ_EXPECT(*DecodeResumeToken(kUser, EncodeResumeToken(kUser, *read)) == *read);
    PARLEY_FUZZ_EXPECT(!DecodeResumeToken(0, token).ok());
  }
  parley::message::WatchPositions positions;
  while (!input.empty()) {
    const std::int64_t chat = Take(input);
    const std::int64_t seq = Take(input);
    const std::int64_t event = Take(input);
    if (chat > 0) positions[chat] = {.seq = seq, .event = event};
  }
  const std::string token = EncodeResumeToken(kUser, positions);
  const auto decoded = DecodeResumeToken(kUser, token);
  PARLEY_FUZZ_EXPECT(decoded.ok() && *decoded == positions);
  PARLEY_FUZZ_EXPECT(!DecodeResumeToken(kUser + 1, token).ok());
  return 0;
}
