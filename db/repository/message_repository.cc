#include "db/repository/message_repository.h"

#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/transaction.h"
#include "db/repository/chat_repository.h"
#include "db/repository/message_rows.h"
#include "db/repository/paging.h"
#include "db/repository/request_log.h"
#include "db/repository/statements.h"
#include "db/repository/user_repository.h"

namespace parley::db {
namespace {

absl::Status MessageNotFound(const MessageKey& key) {
  if (key.id != 0) {
    return Error(absl::StatusCode::kNotFound, reason::kMessageNotFound,
                 absl::StrCat("message ", key.id, " does not exist"),
                 {{"message_id", absl::StrCat(key.id)}});
  }
  return Error(absl::StatusCode::kNotFound, reason::kMessageNotFound,
               absl::StrCat("chat ", key.chat_id, " has no message ", key.seq),
               {{"chat_id", absl::StrCat(key.chat_id)}, {"seq", absl::StrCat(key.seq)}});
}

absl::Status NotPermitted(std::int64_t user_id) {
  return Error(absl::StatusCode::kPermissionDenied, reason::kNotPermitted,
               absl::StrCat("user ", user_id, " may not do this to the message"),
               {{"user_id", absl::StrCat(user_id)}});
}

absl::StatusOr<Message> Find(Session& session, const MessageKey& key) {
  PARLEY_ASSIGN_OR_RETURN(
      std::optional<Message> message,
      key.id != 0 ? session.QueryOptional<Message>(sql::message::GetMessageById, {{"id", key.id}})
                  : session.QueryOptional<Message>(sql::message::GetMessage,
                                                   {{"chat_id", key.chat_id}, {"seq", key.seq}}));
  if (!message) return MessageNotFound(key);
  return *std::move(message);
}

// Why InsertMessage wrote nothing, the chat being there.
absl::Status WhyNotSent(Session& session, std::int64_t chat_id, std::int64_t user_id) {
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> member,
      session.QueryOptional<IdRow>(sql::message::FindMember,
                                   {{"chat_id", chat_id}, {"user_id", user_id}}));
  if (!member) {
    return Error(absl::StatusCode::kPermissionDenied, reason::kNotAMember,
                 absl::StrCat("user ", user_id, " is not a member of chat ", chat_id),
                 {{"user_id", absl::StrCat(user_id)}, {"chat_id", absl::StrCat(chat_id)}});
  }
  return Error(absl::StatusCode::kPermissionDenied, reason::kUserBlocked,
               absl::StrCat("user ", user_id, " is blocked"), {{"user_id", absl::StrCat(user_id)}});
}

// The message that this request wrote before, if it did.
absl::StatusOr<std::optional<Message>> FindSent(Session& session,
                                                const MessageRepository::SendParams& params) {
  if (params.request_id.empty()) return std::optional<Message>();
  PARLEY_ASSIGN_OR_RETURN(std::optional<SentMessageRow> sent,
                          session.QueryOptional<SentMessageRow>(
                              sql::message::FindSentMessage, {{"chat_id", params.chat_id},
                                                              {"user_id", params.user_id},
                                                              {"request_id", params.request_id}}));
  if (!sent) return std::optional<Message>();
  if (sent->fingerprint != params.fingerprint) return RequestIdReused(params.request_id);
  return std::optional<Message>(std::move(sent->message));
}

}  // namespace

absl::StatusOr<Message> MessageRepository::Send(const SendParams& params, absl::Time deadline) {
  std::optional<std::string> request_id;
  std::optional<std::string> fingerprint;
  if (!params.request_id.empty()) {
    request_id = params.request_id;
    fingerprint = params.fingerprint;
  }
  return RunTransaction(
      pool_, deadline, request_id ? OnLostCommit::kSafeToRetry : OnLostCommit::kInDoubt,
      [&](Session& session) -> absl::StatusOr<Message> {
        PARLEY_ASSIGN_OR_RETURN(const std::optional<IdRow> chat,
                                session.QueryOptional<IdRow>(sql::message::LockChatToSend,
                                                             {{"chat_id", params.chat_id}}));
        if (!chat) return ChatNotFound(params.chat_id);
        PARLEY_ASSIGN_OR_RETURN(std::optional<Message> sent, FindSent(session, params));
        if (sent) return *std::move(sent);
        PARLEY_ASSIGN_OR_RETURN(
            std::optional<Message> written,
            session.QueryOptional<Message>(sql::message::InsertMessage,
                                           {{"chat_id", params.chat_id},
                                            {"user_id", params.user_id},
                                            {"text", params.text},
                                            {"request_id", request_id},
                                            {"request_fingerprint", fingerprint}}));
        if (!written) return WhyNotSent(session, params.chat_id, params.user_id);
        return *std::move(written);
      });
}

absl::StatusOr<Message> MessageRepository::Get(const MessageKey& key, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) { return Find(session, key); });
}

absl::StatusOr<Page<Message, std::int64_t>> MessageRepository::List(const ListParams& params,
                                                                    absl::Time deadline) {
  const bool newest_first = params.direction == Direction::kNewestFirst;
  const std::int64_t start =
      params.page.after.value_or(newest_first ? std::numeric_limits<std::int64_t>::max() : 0);
  return RunOnce(
      pool_, deadline, [&](Session& session) -> absl::StatusOr<Page<Message, std::int64_t>> {
        PARLEY_ASSIGN_OR_RETURN(
            std::vector<Message> rows,
            session.Query<Message>(
                newest_first ? sql::message::ListMessagesBefore : sql::message::ListMessagesAfter,
                {{"chat_id", params.chat_id},
                 {"seq", start},
                 {"offset", params.page.offset},
                 {"limit", params.page.limit + 1}}));
        if (rows.empty()) {
          PARLEY_ASSIGN_OR_RETURN(
              const std::optional<IdRow> chat,
              session.QueryOptional<IdRow>(sql::message::FindChat, {{"chat_id", params.chat_id}}));
          if (!chat) return ChatNotFound(params.chat_id);
        }
        return CutPage<std::int64_t>(std::move(rows), params.page.limit,
                                     [](const Message& message) { return message.seq; });
      });
}

absl::StatusOr<Message> MessageRepository::Edit(const EditParams& params, absl::Time deadline) {
  return RunTransaction(pool_, deadline, OnLostCommit::kSafeToRetry,
                        [&](Session& session) -> absl::StatusOr<Message> {
                          PARLEY_ASSIGN_OR_RETURN(const Message before, Find(session, params.key));
                          PARLEY_ASSIGN_OR_RETURN(
                              std::optional<Message> edited,
                              session.QueryOptional<Message>(sql::message::EditMessage,
                                                             {{"chat_id", before.chat_id},
                                                              {"seq", before.seq},
                                                              {"user_id", params.user_id},
                                                              {"text", params.text},
                                                              {"version", params.version}}));
                          if (edited) return *std::move(edited);
                          if (before.user_id != params.user_id) return NotPermitted(params.user_id);
                          // The statement's own view decided; this reads what it saw.
                          PARLEY_ASSIGN_OR_RETURN(const Message now, Find(session, params.key));
                          if (!now.deleted) return EtagMismatch();
                          return Error(absl::StatusCode::kFailedPrecondition,
                                       reason::kMessageDeleted, "the message has been deleted");
                        });
}

absl::StatusOr<Message> MessageRepository::Delete(const MessageKey& key, std::int64_t user_id,
                                                  absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry,
      [&](Session& session) -> absl::StatusOr<Message> {
        PARLEY_ASSIGN_OR_RETURN(const Message before, Find(session, key));
        PARLEY_ASSIGN_OR_RETURN(
            std::optional<Message> tombstone,
            session.QueryOptional<Message>(
                sql::message::DeleteMessage,
                {{"chat_id", before.chat_id}, {"seq", before.seq}, {"user_id", user_id}}));
        if (!tombstone) return NotPermitted(user_id);
        return *std::move(tombstone);
      });
}

}  // namespace parley::db
