// Users in PostgreSQL.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/core/session_pool.h"
#include "db/model/page.h"
#include "db/model/user.h"

namespace parley::db {

// A user and what the password is compared with, if there is one: a hash, or the plain text that an
// adopted database brought along and that nobody has used yet. Never both.
struct Credentials {
  User user;
  std::optional<std::string> password_hash;
  std::optional<std::string> legacy_password;
};

// Thread-safe. Every call blocks until `deadline` at most, and may end with UNAVAILABLE or
// DEADLINE_EXCEEDED besides what it says; writes also with ABORTED and UNKNOWN (transaction.h).
class UserRepository {
 public:
  explicit UserRepository(SessionPool& pool) : pool_(pool) {}

  struct CreateParams {
    std::string login;
    std::string login_key;  // FoldLogin(login)
    std::optional<std::string> name;
    std::optional<std::string> password_hash;
    std::string request_id;   // empty: not remembered
    std::string fingerprint;  // of the content
  };
  // ALREADY_EXISTS: LOGIN_TAKEN, REQUEST_ID_REUSED. NOT_FOUND: the user that the request id created
  // is gone.
  absl::StatusOr<User> Create(const CreateParams& params, absl::Time deadline);

  // NOT_FOUND: USER_NOT_FOUND.
  absl::StatusOr<User> Get(std::int64_t id, absl::Time deadline);
  absl::StatusOr<User> GetByLogin(const std::string& login_key, absl::Time deadline);

  // nullopt: no such login.
  absl::StatusOr<std::optional<Credentials>> GetCredentials(const std::string& login_key,
                                                            absl::Time deadline);

  // Those that exist, in no particular order.
  absl::StatusOr<std::vector<User>> BatchGet(const std::vector<std::int64_t>& ids,
                                             absl::Time deadline);

  // By id.
  absl::StatusOr<Page<User, std::int64_t>> List(const PageParams<std::int64_t>& page,
                                                std::optional<UserStatus> status,
                                                absl::Time deadline);

  // Those whose login key begins with `prefix`, by login key.
  absl::StatusOr<Page<User, std::string>> ListByLogin(const PageParams<std::string>& page,
                                                      const std::string& prefix,
                                                      std::optional<UserStatus> status,
                                                      absl::Time deadline);

  struct UpdateParams {
    std::int64_t id = 0;
    std::optional<std::string> login;  // absent: as it is
    std::string login_key;             // with login
    bool set_name = false;
    std::optional<std::string> name;  // with set_name; absent removes it
    std::optional<UserStatus> status;
    std::optional<std::int64_t> version;  // what it must be now
  };
  // NOT_FOUND: USER_NOT_FOUND. ALREADY_EXISTS: LOGIN_TAKEN. ABORTED: ETAG_MISMATCH.
  // FAILED_PRECONDITION: USER_ERASED.
  absl::StatusOr<User> Update(const UpdateParams& params, absl::Time deadline);

  // An absent hash removes the password; one of an adopted database goes too. NOT_FOUND:
  // USER_NOT_FOUND. FAILED_PRECONDITION: USER_ERASED.
  absl::StatusOr<User> SetPassword(std::int64_t id, const std::optional<std::string>& hash,
                                   absl::Time deadline);

  // The hash in place of the legacy password. False, and nothing changed: that is no longer there,
  // because another call was quicker. NOT_FOUND: USER_NOT_FOUND.
  absl::StatusOr<bool> ReplaceLegacyPassword(std::int64_t id, const std::string& hash,
                                             absl::Time deadline);

  // With the memberships. NOT_FOUND: USER_NOT_FOUND. FAILED_PRECONDITION: USER_HAS_MESSAGES.
  absl::Status Delete(std::int64_t id, absl::Time deadline);

 private:
  SessionPool& pool_;
};

// NOT_FOUND, reason USER_NOT_FOUND.
absl::Status UserNotFound(std::int64_t id);

// ABORTED, reason ETAG_MISMATCH.
absl::Status EtagMismatch();

}  // namespace parley::db
