#include "base/fingerprint.h"

#include <sodium.h>

#include <array>
#include <cstdint>

#include "absl/strings/escaping.h"

namespace parley {

std::string Fingerprint(std::initializer_list<absl::string_view> parts) {
  crypto_generichash_state state;
  std::array<unsigned char, crypto_generichash_BYTES_MIN> digest{};
  crypto_generichash_init(&state, nullptr, 0, digest.size());
  for (const absl::string_view part : parts) {
    const std::uint64_t size = part.size();
    std::array<unsigned char, 8> prefix{};
    for (std::size_t i = 0; i < prefix.size(); ++i) {
      prefix[i] = static_cast<unsigned char>(size >> (8 * i));
    }
    crypto_generichash_update(&state, prefix.data(), prefix.size());
    crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(part.data()),
                              part.size());
  }
  crypto_generichash_final(&state, digest.data(), digest.size());
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

}  // namespace parley
