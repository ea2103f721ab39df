#include "base/random_token.h"

#include <sodium.h>

#include <array>
#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"

namespace parley {

std::string NewRandomToken() {
  static const bool ready = sodium_init() >= 0;  // once; fails only where there is no randomness
  if (!ready) std::abort();
  std::array<char, 16> bytes;
  randombytes_buf(bytes.data(), bytes.size());
  return absl::BytesToHexString(absl::string_view(bytes.data(), bytes.size()));
}

}  // namespace parley
