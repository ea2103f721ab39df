#include "db/repository/user_repository.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/transaction.h"
#include "db/repository/erasure_repository.h"
#include "db/repository/paging.h"
#include "db/repository/request_log.h"
#include "db/repository/statements.h"
#include "db/repository/user_rows.h"

namespace parley::db {

// A user and the login key that orders the list.
struct KeyedUserRow {
  User user;
  std::string login_key;
};

namespace {

std::optional<std::string> Label(std::optional<UserStatus> status) {
  if (!status) return std::nullopt;
  return std::string(ToLabel(*status));
}

absl::Status LoginTaken() {
  return Error(absl::StatusCode::kAlreadyExists, reason::kLoginTaken,
               "the login belongs to another user");
}

// A row that has to be there.
absl::StatusOr<User> Found(absl::StatusOr<std::optional<User>> user, absl::Status otherwise) {
  PARLEY_RETURN_IF_ERROR(user.status());
  if (!*user) return otherwise;
  return **std::move(user);
}

std::vector<std::int64_t> Ids(const std::vector<IdRow>& rows) {
  std::vector<std::int64_t> ids;
  ids.reserve(rows.size());
  for (const IdRow& row : rows) ids.push_back(row.id);
  return ids;
}

// Whoever adds, removes or sends locks the chat first and the user second; so does this, chat after
// chat in the order of their ids, so that no two can wait for each other.
absl::Status LockChatsOf(Session& session, std::int64_t user_id) {
  PARLEY_ASSIGN_OR_RETURN(const std::vector<IdRow> chats,
                          session.Query<IdRow>(sql::user::ListChatsToLeave, {{"id", user_id}}));
  for (const IdRow& chat : chats) {
    PARLEY_RETURN_IF_ERROR(
        session.QueryOptional<IdRow>(sql::message::LockChatToSend, {{"chat_id", chat.id}})
            .status());
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::db::Credentials> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::Credentials& out) {
    out.user = parley::db::UserFromRow(row);
    out.password_hash = parley::db::OptionalTextColumn(row, "password_hash");
    out.legacy_password = parley::db::OptionalTextColumn(row, "legacy_password");
  }
};

template <>
struct type_conversion<parley::db::KeyedUserRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::KeyedUserRow& out) {
    out.user = parley::db::UserFromRow(row);
    out.login_key = row.get<std::string>("login_key");
  }
};

}  // namespace soci

namespace parley::db {

absl::Status UserNotFound(std::int64_t id) {
  return Error(absl::StatusCode::kNotFound, reason::kUserNotFound,
               absl::StrCat("user ", id, " does not exist"), {{"user_id", absl::StrCat(id)}});
}

absl::Status EtagMismatch() {
  return Error(absl::StatusCode::kAborted, reason::kEtagMismatch,
               "it has changed since the etag was read; read it again");
}

absl::StatusOr<User> UserRepository::Create(const CreateParams& params, absl::Time deadline) {
  const RequestKey key{"CreateUser", 0, params.request_id, params.fingerprint};
  return RunTransaction(
      pool_, deadline, LostCommitOf(key), [&](Session& session) -> absl::StatusOr<User> {
        PARLEY_ASSIGN_OR_RETURN(const std::int64_t id, NextId(session, "users_id_seq"));
        PARLEY_ASSIGN_OR_RETURN(const std::optional<std::int64_t> first,
                                ClaimRequest(session, key, id));
        if (first) {
          return Found(session.QueryOptional<User>(sql::user::GetUser, {{"id", *first}}),
                       UserNotFound(*first));
        }
        return Found(session.QueryOptional<User>(sql::user::InsertUser,
                                                 {{"id", id},
                                                  {"login", params.login},
                                                  {"login_key", params.login_key},
                                                  {"name", params.name},
                                                  {"password_hash", params.password_hash}}),
                     LoginTaken());
      });
}

absl::StatusOr<User> UserRepository::Get(std::int64_t id, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<User> {
    return Found(session.QueryOptional<User>(sql::user::GetUser, {{"id", id}}), UserNotFound(id));
  });
}

absl::StatusOr<User> UserRepository::GetByLogin(const std::string& login_key, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<User> {
    return Found(
        session.QueryOptional<User>(sql::user::GetUserByLogin, {{"login_key", login_key}}),
        Error(absl::StatusCode::kNotFound, reason::kUserNotFound, "no user has this login"));
  });
}

absl::StatusOr<std::optional<Credentials>> UserRepository::GetCredentials(
    const std::string& login_key, absl::Time deadline) {
  return RunOnce(pool_, deadline,
                 [&](Session& session) -> absl::StatusOr<std::optional<Credentials>> {
                   return session.QueryOptional<Credentials>(sql::user::GetCredentials,
                                                             {{"login_key", login_key}});
                 });
}

absl::StatusOr<std::vector<User>> UserRepository::BatchGet(const std::vector<std::int64_t>& ids,
                                                           absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<std::vector<User>> {
    return session.Query<User>(sql::user::BatchGetUsers, {{"ids", ArrayLiteral(ids)}});
  });
}

absl::StatusOr<Page<User, std::int64_t>> UserRepository::List(const PageParams<std::int64_t>& page,
                                                              std::optional<UserStatus> status,
                                                              absl::Time deadline) {
  return RunOnce(pool_, deadline,
                 [&](Session& session) -> absl::StatusOr<Page<User, std::int64_t>> {
                   PARLEY_ASSIGN_OR_RETURN(
                       std::vector<User> rows,
                       session.Query<User>(sql::user::ListUsers, {{"after", page.after.value_or(0)},
                                                                  {"status", Label(status)},
                                                                  {"offset", page.offset},
                                                                  {"limit", page.limit + 1}}));
                   return CutPage<std::int64_t>(std::move(rows), page.limit,
                                                [](const User& user) { return user.id; });
                 });
}

absl::StatusOr<Page<User, std::string>> UserRepository::ListByLogin(
    const PageParams<std::string>& page, const std::string& prefix,
    std::optional<UserStatus> status, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<Page<User, std::string>> {
    PARLEY_ASSIGN_OR_RETURN(std::vector<KeyedUserRow> rows,
                            session.Query<KeyedUserRow>(sql::user::ListUsersByLogin,
                                                        {{"prefix", prefix},
                                                         {"after", page.after.value_or("")},
                                                         {"status", Label(status)},
                                                         {"offset", page.offset},
                                                         {"limit", page.limit + 1}}));
    Page<KeyedUserRow, std::string> keyed = CutPage<std::string>(
        std::move(rows), page.limit, [](const KeyedUserRow& row) { return row.login_key; });
    Page<User, std::string> users;
    for (KeyedUserRow& row : keyed.rows) users.rows.push_back(std::move(row.user));
    users.next = std::move(keyed.next);
    return users;
  });
}

absl::StatusOr<User> UserRepository::Update(const UpdateParams& params, absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry, [&](Session& session) -> absl::StatusOr<User> {
        PARLEY_ASSIGN_OR_RETURN(
            const User before,
            Found(session.QueryOptional<User>(sql::user::LockUser, {{"id", params.id}}),
                  UserNotFound(params.id)));
        PARLEY_RETURN_IF_ERROR(CheckNotErased(session, params.id));
        if (params.version && *params.version != before.version) return EtagMismatch();
        const std::optional<std::string> login_key =
            params.login ? std::optional(params.login_key) : std::nullopt;
        absl::StatusOr<std::optional<User>> updated =
            session.QueryOptional<User>(sql::user::UpdateUser, {{"id", params.id},
                                                                {"login", params.login},
                                                                {"login_key", login_key},
                                                                {"set_name", params.set_name},
                                                                {"name", params.name},
                                                                {"status", Label(params.status)}});
        // The only unique key that an update can violate is the login's.
        if (absl::IsAlreadyExists(updated.status())) return LoginTaken();
        return Found(std::move(updated), UserNotFound(params.id));
      });
}

absl::StatusOr<User> UserRepository::SetPassword(std::int64_t id,
                                                 const std::optional<std::string>& hash,
                                                 absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry, [&](Session& session) -> absl::StatusOr<User> {
        PARLEY_ASSIGN_OR_RETURN(const User user, Found(session.QueryOptional<User>(
                                                           sql::user::SetPassword,
                                                           {{"id", id}, {"password_hash", hash}}),
                                                       UserNotFound(id)));
        // Asked under the lock that the update has taken; if it fails, nothing is written.
        PARLEY_RETURN_IF_ERROR(CheckNotErased(session, id));
        PARLEY_RETURN_IF_ERROR(
            session.Execute(sql::user::DropLegacyPassword, {{"id", id}}).status());
        return user;
      });
}

absl::StatusOr<bool> UserRepository::ReplaceLegacyPassword(std::int64_t id, const std::string& hash,
                                                           absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry, [&](Session& session) -> absl::StatusOr<bool> {
        PARLEY_RETURN_IF_ERROR(
            Found(session.QueryOptional<User>(sql::user::LockUser, {{"id", id}}), UserNotFound(id))
                .status());
        PARLEY_ASSIGN_OR_RETURN(
            const std::optional<IdRow> taken,
            session.QueryOptional<IdRow>(sql::user::TakeLegacyPassword, {{"id", id}}));
        if (!taken) return false;
        PARLEY_RETURN_IF_ERROR(
            session.Execute(sql::user::StoreFirstHash, {{"id", id}, {"password_hash", hash}})
                .status());
        return true;
      });
}

absl::Status UserRepository::Delete(std::int64_t id, absl::Time deadline) {
  const auto body = [&](Session& session) -> absl::StatusOr<std::int64_t> {
    PARLEY_RETURN_IF_ERROR(LockChatsOf(session, id));
    PARLEY_RETURN_IF_ERROR(
        Found(session.QueryOptional<User>(sql::user::LockUser, {{"id", id}}), UserNotFound(id))
            .status());
    // After the lock nobody can write a message in this user's name, or make it a member.
    PARLEY_ASSIGN_OR_RETURN(
        const std::optional<IdRow> message,
        session.QueryOptional<IdRow>(sql::user::FindMessageOfUser, {{"id", id}}));
    if (message) {
      return Error(absl::StatusCode::kFailedPrecondition, reason::kUserHasMessages,
                   absl::StrCat("user ", id, " has written or scheduled messages"),
                   {{"user_id", absl::StrCat(id)}});
    }
    PARLEY_ASSIGN_OR_RETURN(const std::vector<IdRow> left,
                            session.Query<IdRow>(sql::user::LeaveAllChats, {{"id", id}}));
    PARLEY_RETURN_IF_ERROR(
        session.Execute(sql::user::SubtractFromUserCounts, {{"ids", ArrayLiteral(Ids(left))}})
            .status());
    return session.Execute(sql::user::DeleteUser, {{"id", id}});
  };
  return RunTransaction(pool_, deadline, OnLostCommit::kInDoubt, body).status();
}

}  // namespace parley::db
