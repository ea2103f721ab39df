#include "db/repository/chat_repository.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/transaction.h"
#include "db/repository/chat_rows.h"
#include "db/repository/paging.h"
#include "db/repository/request_log.h"
#include "db/repository/retention_repository.h"
#include "db/repository/statements.h"
#include "db/repository/user_repository.h"

namespace parley::db {
namespace {

// Fills in the users of `chats`.
absl::Status LoadUsers(Session& session, std::vector<Chat>& chats) {
  if (chats.empty()) return absl::OkStatus();
  std::vector<std::int64_t> ids;
  ids.reserve(chats.size());
  std::unordered_map<std::int64_t, Chat*> by_id;
  for (Chat& chat : chats) {
    ids.push_back(chat.id);
    by_id[chat.id] = &chat;
  }
  PARLEY_ASSIGN_OR_RETURN(
      std::vector<ChatUserRow> rows,
      session.Query<ChatUserRow>(sql::chat::GetUsersOfChats,
                                 {{"chat_ids", ArrayLiteral(ids)}, {"per_chat", kMaxChatUsers}}));
  for (ChatUserRow& row : rows) by_id[row.chat_id]->users.push_back(std::move(row.user));
  for (Chat& chat : chats) {
    // Somebody may have come or gone between the two statements; what is shown agrees with itself.
    const auto shown = static_cast<std::int32_t>(chat.users.size());
    chat.user_count = shown < kMaxChatUsers ? shown : std::max(chat.user_count, shown);
  }
  return absl::OkStatus();
}

absl::StatusOr<Chat> GetWithUsers(Session& session, std::int64_t id) {
  PARLEY_ASSIGN_OR_RETURN(std::vector<Chat> chats,
                          session.Query<Chat>(sql::chat::GetChat, {{"id", id}}));
  if (chats.empty()) return ChatNotFound(id);
  PARLEY_RETURN_IF_ERROR(LoadUsers(session, chats));
  return std::move(chats.front());
}

absl::StatusOr<Chat> LockChat(Session& session, std::int64_t id) {
  PARLEY_ASSIGN_OR_RETURN(std::optional<Chat> chat,
                          session.QueryOptional<Chat>(sql::chat::LockChat, {{"id", id}}));
  if (!chat) return ChatNotFound(id);
  return *std::move(chat);
}

// Whether all of `ids` (sorted) exist and may join; holds their status until the transaction ends.
absl::Status LockMembersToBe(Session& session, const std::vector<std::int64_t>& ids) {
  PARLEY_ASSIGN_OR_RETURN(
      const std::vector<User> users,
      session.Query<User>(sql::chat::LockMembersToBe, {{"ids", ArrayLiteral(ids)}}));
  std::vector<std::int64_t> found;
  found.reserve(users.size());
  for (const User& user : users) found.push_back(user.id);
  std::vector<std::int64_t> missing;
  std::set_difference(ids.begin(), ids.end(), found.begin(), found.end(),
                      std::back_inserter(missing));
  if (missing.size() == 1) return UserNotFound(missing.front());
  if (!missing.empty()) {
    return Error(absl::StatusCode::kNotFound, reason::kUserNotFound,
                 absl::StrCat("users ", absl::StrJoin(missing, ", "), " do not exist"),
                 {{"user_ids", absl::StrJoin(missing, ",")}});
  }
  for (const User& user : users) {
    if (user.status != UserStatus::kBlocked) continue;
    return Error(absl::StatusCode::kFailedPrecondition, reason::kUserBlocked,
                 absl::StrCat("user ", user.id, " is blocked"),
                 {{"user_id", absl::StrCat(user.id)}});
  }
  return absl::OkStatus();
}

std::optional<std::int64_t> ToMicroseconds(const std::optional<absl::Duration>& retention) {
  if (!retention) return std::nullopt;
  return absl::ToInt64Microseconds(*retention);
}

absl::Status AddToUserCount(Session& session, std::int64_t chat_id, std::int64_t difference) {
  return session.Execute(sql::chat::AddToUserCount, {{"id", chat_id}, {"difference", difference}})
      .status();
}

}  // namespace

absl::Status ChatNotFound(std::int64_t id) {
  return Error(absl::StatusCode::kNotFound, reason::kChatNotFound,
               absl::StrCat("chat ", id, " does not exist"), {{"chat_id", absl::StrCat(id)}});
}

absl::Status NotAMember(std::int64_t chat_id, std::int64_t user_id) {
  return Error(absl::StatusCode::kPermissionDenied, reason::kNotAMember,
               absl::StrCat("user ", user_id, " is not a member of chat ", chat_id),
               {{"user_id", absl::StrCat(user_id)}, {"chat_id", absl::StrCat(chat_id)}});
}

absl::StatusOr<Chat> ChatRepository::Create(const CreateParams& params, absl::Time deadline) {
  const RequestKey key{"CreateChat", params.creator_user_id, params.request_id, params.fingerprint};
  return RunTransaction(
      pool_, deadline, LostCommitOf(key), [&](Session& session) -> absl::StatusOr<Chat> {
        PARLEY_ASSIGN_OR_RETURN(const std::int64_t id, NextId(session, "chats_id_seq"));
        PARLEY_ASSIGN_OR_RETURN(const std::optional<std::int64_t> first,
                                ClaimRequest(session, key, id));
        if (first) return GetWithUsers(session, *first);
        PARLEY_RETURN_IF_ERROR(LockMembersToBe(session, params.user_ids));
        PARLEY_RETURN_IF_ERROR(
            session
                .Execute(sql::chat::InsertChat,
                         {{"id", id},
                          {"title", params.title},
                          {"description", params.description},
                          {"chat_type", ToLabel(params.chat_type)},
                          {"creator_user_id", params.creator_user_id},
                          {"retention_us", ToMicroseconds(params.retention)},
                          {"user_count", static_cast<std::int64_t>(params.user_ids.size())}})
                .status());
        PARLEY_RETURN_IF_ERROR(
            session
                .Execute(sql::chat::InsertMembers, {{"chat_id", id},
                                                    {"creator_user_id", params.creator_user_id},
                                                    {"user_ids", ArrayLiteral(params.user_ids)}})
                .status());
        return GetWithUsers(session, id);
      });
}

absl::StatusOr<Chat> ChatRepository::Get(std::int64_t id, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) { return GetWithUsers(session, id); });
}

absl::StatusOr<std::vector<Chat>> ChatRepository::BatchGet(const std::vector<std::int64_t>& ids,
                                                           absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<std::vector<Chat>> {
    PARLEY_ASSIGN_OR_RETURN(
        std::vector<Chat> chats,
        session.Query<Chat>(sql::chat::BatchGetChats, {{"ids", ArrayLiteral(ids)}}));
    PARLEY_RETURN_IF_ERROR(LoadUsers(session, chats));
    return chats;
  });
}

absl::StatusOr<Page<Chat, std::int64_t>> ChatRepository::List(const PageParams<std::int64_t>& page,
                                                              std::optional<ChatType> chat_type,
                                                              absl::Time deadline) {
  std::optional<std::string> label;
  if (chat_type) label = std::string(ToLabel(*chat_type));
  return RunOnce(pool_, deadline,
                 [&](Session& session) -> absl::StatusOr<Page<Chat, std::int64_t>> {
                   PARLEY_ASSIGN_OR_RETURN(
                       std::vector<Chat> rows,
                       session.Query<Chat>(sql::chat::ListChats, {{"after", page.after.value_or(0)},
                                                                  {"chat_type", label},
                                                                  {"offset", page.offset},
                                                                  {"limit", page.limit + 1}}));
                   Page<Chat, std::int64_t> chats = CutPage<std::int64_t>(
                       std::move(rows), page.limit, [](const Chat& chat) { return chat.id; });
                   PARLEY_RETURN_IF_ERROR(LoadUsers(session, chats.rows));
                   return chats;
                 });
}

absl::StatusOr<Page<Chat, std::int64_t>> ChatRepository::ListOfUser(
    std::int64_t user_id, const PageParams<std::int64_t>& page, absl::Time deadline) {
  return RunOnce(
      pool_, deadline, [&](Session& session) -> absl::StatusOr<Page<Chat, std::int64_t>> {
        PARLEY_ASSIGN_OR_RETURN(
            std::vector<Chat> rows,
            session.Query<Chat>(sql::chat::ListUserChats, {{"user_id", user_id},
                                                           {"after", page.after.value_or(0)},
                                                           {"offset", page.offset},
                                                           {"limit", page.limit + 1}}));
        if (rows.empty()) {
          PARLEY_ASSIGN_OR_RETURN(
              const std::optional<User> user,
              session.QueryOptional<User>(sql::user::GetUser, {{"id", user_id}}));
          if (!user) return UserNotFound(user_id);
        }
        Page<Chat, std::int64_t> chats = CutPage<std::int64_t>(
            std::move(rows), page.limit, [](const Chat& chat) { return chat.id; });
        PARLEY_RETURN_IF_ERROR(LoadUsers(session, chats.rows));
        return chats;
      });
}

absl::StatusOr<Page<ChatMember, std::int64_t>> ChatRepository::ListMembers(
    std::int64_t chat_id, const PageParams<std::int64_t>& page, absl::Time deadline) {
  return RunOnce(
      pool_, deadline, [&](Session& session) -> absl::StatusOr<Page<ChatMember, std::int64_t>> {
        PARLEY_ASSIGN_OR_RETURN(
            std::vector<ChatMember> rows,
            session.Query<ChatMember>(sql::chat::ListChatUsers, {{"chat_id", chat_id},
                                                                 {"after", page.after.value_or(0)},
                                                                 {"offset", page.offset},
                                                                 {"limit", page.limit + 1}}));
        if (rows.empty()) {
          PARLEY_ASSIGN_OR_RETURN(
              const std::optional<Chat> chat,
              session.QueryOptional<Chat>(sql::chat::GetChat, {{"id", chat_id}}));
          if (!chat) return ChatNotFound(chat_id);
        }
        return CutPage<std::int64_t>(std::move(rows), page.limit,
                                     [](const ChatMember& member) { return member.user.id; });
      });
}

absl::StatusOr<Chat> ChatRepository::Update(const UpdateParams& params, absl::Time deadline) {
  std::optional<std::string> label;
  if (params.chat_type) label = std::string(ToLabel(*params.chat_type));
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry, [&](Session& session) -> absl::StatusOr<Chat> {
        PARLEY_ASSIGN_OR_RETURN(const Chat before, LockChat(session, params.id));
        if (params.version && *params.version != before.version) return EtagMismatch();
        PARLEY_RETURN_IF_ERROR(session
                                   .Execute(sql::chat::UpdateChat,
                                            {{"id", params.id},
                                             {"title", params.title},
                                             {"set_description", params.set_description},
                                             {"description", params.description},
                                             {"chat_type", label},
                                             {"set_retention", params.set_retention},
                                             {"retention_us", ToMicroseconds(params.retention)}})
                                   .status());
        if (params.set_retention) PARLEY_RETURN_IF_ERROR(HideExpired(session, params.id));
        return GetWithUsers(session, params.id);
      });
}

absl::Status ChatRepository::Delete(std::int64_t id, absl::Time deadline) {
  return RunTransaction(pool_, deadline, OnLostCommit::kInDoubt,
                        [&](Session& session) -> absl::StatusOr<std::int64_t> {
                          PARLEY_ASSIGN_OR_RETURN(
                              const std::int64_t deleted,
                              session.Execute(sql::chat::DeleteChat, {{"id", id}}));
                          if (deleted == 0) return ChatNotFound(id);
                          return deleted;
                        })
      .status();
}

absl::StatusOr<Chat> ChatRepository::AddMember(const AddMemberParams& params, absl::Time deadline) {
  const RequestKey key{"AddUserToChat", params.chat_id, params.request_id, params.fingerprint};
  // A membership is there or not, so that a repeat does no harm even without a request id.
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry, [&](Session& session) -> absl::StatusOr<Chat> {
        PARLEY_RETURN_IF_ERROR(LockChat(session, params.chat_id).status());
        PARLEY_ASSIGN_OR_RETURN(const std::optional<std::int64_t> first,
                                ClaimRequest(session, key, params.chat_id));
        if (first) return GetWithUsers(session, params.chat_id);
        PARLEY_RETURN_IF_ERROR(LockMembersToBe(session, {params.user_id}));
        PARLEY_ASSIGN_OR_RETURN(
            const std::int64_t added,
            session.Execute(sql::chat::InsertMember, {{"chat_id", params.chat_id},
                                                      {"user_id", params.user_id},
                                                      {"role", ToLabel(params.role)}}));
        if (added > 0) PARLEY_RETURN_IF_ERROR(AddToUserCount(session, params.chat_id, added));
        return GetWithUsers(session, params.chat_id);
      });
}

absl::StatusOr<Chat> ChatRepository::RemoveMember(std::int64_t chat_id, std::int64_t user_id,
                                                  absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry, [&](Session& session) -> absl::StatusOr<Chat> {
        // Under the chat's lock two owners cannot both leave, each seeing the other.
        PARLEY_RETURN_IF_ERROR(LockChat(session, chat_id).status());
        PARLEY_ASSIGN_OR_RETURN(
            const std::optional<RoleRow> removed,
            session.QueryOptional<RoleRow>(sql::chat::DeleteMember,
                                           {{"chat_id", chat_id}, {"user_id", user_id}}));
        if (removed) {
          PARLEY_ASSIGN_OR_RETURN(
              const std::optional<IdRow> owner,
              session.QueryOptional<IdRow>(sql::chat::FindOwner, {{"chat_id", chat_id}}));
          if (removed->role == ChatRole::kOwner && !owner) {
            return Error(absl::StatusCode::kFailedPrecondition, reason::kLastOwner,
                         absl::StrCat("user ", user_id, " is the last owner of chat ", chat_id),
                         {{"user_id", absl::StrCat(user_id)}, {"chat_id", absl::StrCat(chat_id)}});
          }
          PARLEY_RETURN_IF_ERROR(AddToUserCount(session, chat_id, -1));
        }
        return GetWithUsers(session, chat_id);
      });
}

}  // namespace parley::db
