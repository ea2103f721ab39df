#include "services/chat/password_hasher.h"

#include <sodium.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "base/error.h"
#include "base/status_macros.h"

namespace parley::chat {
namespace {

// libsodium's interactive cost: 2 passes over 64 MiB.
constexpr unsigned long long kPasses = crypto_pwhash_OPSLIMIT_INTERACTIVE;
constexpr std::size_t kMemory = crypto_pwhash_MEMLIMIT_INTERACTIVE;

absl::Status NoMemory() {
  return WithRetryDelay(Error(absl::StatusCode::kResourceExhausted, reason::kQueueFull,
                              "no memory to work on a password; try again later"),
                        absl::Seconds(1));
}

// Of one length whatever went in, so that comparing two takes one time.
using Digest = std::array<unsigned char, crypto_generichash_BYTES>;

Digest DigestOf(absl::string_view text) {
  Digest digest{};
  crypto_generichash(digest.data(), digest.size(),
                     reinterpret_cast<const unsigned char*>(text.data()), text.size(), nullptr, 0);
  return digest;
}

}  // namespace

PasswordHasher::PasswordHasher() {
  if (sodium_init() < 0) std::abort();  // no randomness: nothing could be kept safe
  nobody_ = Hash("a password that nobody has").value();
}

absl::StatusOr<std::string> PasswordHasher::Hash(absl::string_view password) const {
  std::array<char, crypto_pwhash_STRBYTES> hash{};
  if (crypto_pwhash_str_alg(hash.data(), password.data(), password.size(), kPasses, kMemory,
                            crypto_pwhash_ALG_ARGON2ID13) != 0) {
    return NoMemory();
  }
  return std::string(hash.data());
}

absl::StatusOr<bool> PasswordHasher::Verify(absl::string_view password,
                                            const std::string& hash) const {
  errno = 0;
  if (crypto_pwhash_str_verify(hash.c_str(), password.data(), password.size()) == 0) return true;
  // Without memory a right password would be called wrong.
  if (errno == ENOMEM) return NoMemory();
  return false;
}

absl::StatusOr<bool> PasswordHasher::VerifyNobody(absl::string_view password) const {
  PARLEY_RETURN_IF_ERROR(Verify(password, nobody_).status());
  return false;
}

absl::StatusOr<bool> PasswordHasher::VerifyPlain(absl::string_view password,
                                                 absl::string_view plain) const {
  PARLEY_RETURN_IF_ERROR(VerifyNobody(password).status());
  const Digest given = DigestOf(password);
  const Digest kept = DigestOf(plain);
  return sodium_memcmp(given.data(), kept.data(), given.size()) == 0;
}

}  // namespace parley::chat
