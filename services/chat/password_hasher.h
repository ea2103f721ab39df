// Passwords as Argon2id.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::chat {

// Hashes and checks passwords; each call takes tens of milliseconds and 64 MiB by design, so its
// callers run on an executor of their own. Thread-safe.
class PasswordHasher {
 public:
  // Prepares the hash that VerifyNobody works on.
  PasswordHasher();

  // An Argon2id PHC string with a random salt. RESOURCE_EXHAUSTED if there is no memory for it.
  absl::StatusOr<std::string> Hash(absl::string_view password) const;

  // Whether `hash` was made of `password`. RESOURCE_EXHAUSTED if there is no memory to tell.
  absl::StatusOr<bool> Verify(absl::string_view password, const std::string& hash) const;

  // Takes as long as Verify and answers false: for logins that do not exist or have no password.
  absl::StatusOr<bool> VerifyNobody(absl::string_view password) const;

  // Whether `password` is `plain`, which is kept as plain text; takes as long as Verify, whatever
  // the two are.
  absl::StatusOr<bool> VerifyPlain(absl::string_view password, absl::string_view plain) const;

 private:
  std::string nobody_;  // constant after construction
};

}  // namespace parley::chat
