// How often a password may be guessed: wrong ones are counted by login and by caller, for all
// processes of the database together.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/session_pool.h"

namespace parley::db {

// Who guesses.
struct PasswordAttempt {
  std::string login_key;  // whether there is such a login or not
  std::string caller;     // empty: nobody is asked who they are, and no caller has a limit
};

// Thread-safe. Every call blocks at most until its `deadline`, and may return DEADLINE_EXCEEDED,
// UNAVAILABLE and INTERNAL.
class PasswordAttemptRepository {
 public:
  // A login is forgiven one wrong password a minute, a caller ten a second.
  struct Options {
    std::int32_t login_failures = 10;    // in a row; 0: any number
    std::int32_t caller_failures = 600;  // the same
  };
  // `pool` must outlive the repository.
  PasswordAttemptRepository(SessionPool& pool, Options options) : pool_(pool), options_(options) {}

  // How long the next attempt has to wait; zero if it may come now. What is tried at the same
  // moment is not counted yet, so a few more than the limit may pass.
  absl::StatusOr<absl::Duration> WaitOf(const PasswordAttempt& attempt, absl::Time deadline);

  // Counts a wrong password.
  absl::Status Failed(const PasswordAttempt& attempt, absl::Time deadline);

  // Forgives the login all wrong passwords: it was given the right one.
  absl::Status Succeeded(const PasswordAttempt& attempt, absl::Time deadline);

 private:
  std::string LoginSubject(const PasswordAttempt& attempt) const;
  std::string CallerSubject(const PasswordAttempt& attempt) const;

  SessionPool& pool_;
  const Options options_;
};

}  // namespace parley::db
