#include "services/chat/password_hasher.h"

#include <sodium.h>

#include <array>
#include <cstdlib>

#include "base/error.h"

namespace parley::chat {
namespace {

// libsodium's interactive cost: 2 passes over 64 MiB.
constexpr unsigned long long kPasses = crypto_pwhash_OPSLIMIT_INTERACTIVE;
constexpr std::size_t kMemory = crypto_pwhash_MEMLIMIT_INTERACTIVE;

}  // namespace

PasswordHasher::PasswordHasher() {
  if (sodium_init() < 0) std::abort();  // no randomness: nothing could be kept safe
  nobody_ = Hash("a password that nobody has").value();
}

absl::StatusOr<std::string> PasswordHasher::Hash(absl::string_view password) const {
  std::array<char, crypto_pwhash_STRBYTES> hash{};
  if (crypto_pwhash_str_alg(hash.data(), password.data(), password.size(), kPasses, kMemory,
                            crypto_pwhash_ALG_ARGON2ID13) != 0) {
    return Error(absl::StatusCode::kResourceExhausted, reason::kQueueFull,
                 "no memory to hash a password; try again later");
  }
  return std::string(hash.data());
}

bool PasswordHasher::Verify(absl::string_view password, const std::string& hash) const {
  return crypto_pwhash_str_verify(hash.c_str(), password.data(), password.size()) == 0;
}

bool PasswordHasher::VerifyNobody(absl::string_view password) const {
  Verify(password, nobody_);
  return false;
}

}  // namespace parley::chat
