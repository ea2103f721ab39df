#include "db/repository/scheduled_message_repository.h"

#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/transaction.h"
#include "db/repository/chat_repository.h"
#include "db/repository/paging.h"
#include "db/repository/request_log.h"
#include "db/repository/statements.h"
#include "db/repository/task_rows.h"
#include "db/repository/user_repository.h"
#include "db/repository/user_rows.h"

namespace parley::db {

// A member, and whether it may send.
struct SenderRow {
  bool active = false;
};

namespace {

constexpr char kChatHeader[] = "chat_id";
constexpr char kIdHeader[] = "scheduled_message_id";

absl::string_view StateLabel(ScheduledMessageState state) {
  switch (state) {
    case ScheduledMessageState::kScheduled:
      return "scheduled";
    case ScheduledMessageState::kSent:
      return "sent";
    case ScheduledMessageState::kCancelled:
      return "cancelled";
    case ScheduledMessageState::kFailed:
      return "failed";
  }
  return "";
}

ScheduledMessageState StateFromLabel(absl::string_view label) {
  if (label == "sent") return ScheduledMessageState::kSent;
  if (label == "cancelled") return ScheduledMessageState::kCancelled;
  return label == "failed" ? ScheduledMessageState::kFailed : ScheduledMessageState::kScheduled;
}

}  // namespace
}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::db::SenderRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::SenderRow& out) {
    out.active = row.get<int>("active") != 0;
  }
};

template <>
struct type_conversion<parley::ScheduledMessage> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::ScheduledMessage& out) {
    out.id = row.get<long long>("id");
    out.chat_id = row.get<long long>("chat_id");
    out.user_id = row.get<long long>("user_id");
    out.text = row.get<std::string>("text");
    out.reply_to_seq = row.get<long long>("reply_to_seq");
    out.run_time = parley::db::TimeColumn(row, "run_us");
    out.resolution.reset();
    if (const auto label = parley::db::OptionalTextColumn(row, "local_resolution")) {
      out.resolution = parley::db::LocalTimeResolutionFromLabel(*label);
    }
    out.state = parley::db::StateFromLabel(row.get<std::string>("state"));
    out.task_id = row.get<long long>("task_id");
    out.seq = row.get<long long>("seq");
    out.failure_reason = row.get<std::string>("failure_reason");
    out.create_time = parley::db::TimeColumn(row, "create_us");
    out.update_time = parley::db::TimeColumn(row, "update_us");
  }
};

}  // namespace soci

namespace parley::db {
namespace {

absl::Status ScheduledMessageNotFound(std::int64_t id) {
  return Error(absl::StatusCode::kNotFound, reason::kScheduledMessageNotFound,
               absl::StrCat("scheduled message ", id, " does not exist"),
               {{"scheduled_message_id", absl::StrCat(id)}});
}

absl::StatusOr<ScheduledMessage> Get(Session& session, const ScheduledMessageRepository::Key& key) {
  PARLEY_ASSIGN_OR_RETURN(
      std::optional<ScheduledMessage> found,
      session.QueryOptional<ScheduledMessage>(sql::schedule::GetScheduledMessage,
                                              {{"chat_id", key.chat_id}, {"id", key.id}}));
  if (!found) return ScheduledMessageNotFound(key.id);
  return *std::move(found);
}

absl::Status LockToSend(Session& session, std::int64_t chat_id) {
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> chat,
      session.QueryOptional<IdRow>(sql::message::LockChatToSend, {{"chat_id", chat_id}}));
  return chat ? absl::OkStatus() : ChatNotFound(chat_id);
}

// Whether SendMessage would take it now, the chat being locked.
absl::Status CheckMaySend(Session& session,
                          const ScheduledMessageRepository::ScheduleParams& params) {
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<SenderRow> sender,
      session.QueryOptional<SenderRow>(sql::schedule::FindSender,
                                       {{"chat_id", params.chat_id}, {"user_id", params.user_id}}));
  if (!sender) {
    return Error(
        absl::StatusCode::kPermissionDenied, reason::kNotAMember,
        absl::StrCat("user ", params.user_id, " is not a member of chat ", params.chat_id),
        {{"user_id", absl::StrCat(params.user_id)}, {"chat_id", absl::StrCat(params.chat_id)}});
  }
  if (!sender->active) {
    return Error(absl::StatusCode::kPermissionDenied, reason::kUserBlocked,
                 absl::StrCat("user ", params.user_id, " is blocked"),
                 {{"user_id", absl::StrCat(params.user_id)}});
  }
  if (params.reply_to_seq == 0) return absl::OkStatus();
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> answered,
      session.QueryOptional<IdRow>(sql::schedule::FindMessageToAnswer,
                                   {{"chat_id", params.chat_id}, {"seq", params.reply_to_seq}}));
  if (answered) return absl::OkStatus();
  return Error(
      absl::StatusCode::kNotFound, reason::kMessageNotFound,
      absl::StrCat("chat ", params.chat_id, " has no message ", params.reply_to_seq),
      {{"chat_id", absl::StrCat(params.chat_id)}, {"seq", absl::StrCat(params.reply_to_seq)}});
}

NewTask TaskFor(const ScheduledMessageRepository::ScheduleParams& params, std::int64_t id) {
  NewTask task;
  task.queue = kScheduledMessagesQueue;
  task.name = "send a scheduled message";
  task.headers = {{kChatHeader, absl::StrCat(params.chat_id)}, {kIdHeader, absl::StrCat(id)}};
  task.run_time = params.run_time;
  task.max_attempts = kOwnMaxAttempts;
  task.retry = kOwnRetry;
  task.local_time = params.local_time;
  return task;
}

// Ids belong to the chat and the user; callers' ids have no blank. The user is the scope, so that
// an erasure finds them.
RequestKey KeyOf(const ScheduledMessageRepository::ScheduleParams& params) {
  return {"ScheduleMessage", params.user_id,
          params.request_id.empty() ? "" : absl::StrCat(params.chat_id, " ", params.request_id),
          params.fingerprint};
}

absl::StatusOr<ScheduledMessage> ScheduleIn(
    Session& session, const ScheduledMessageRepository::ScheduleParams& params) {
  PARLEY_RETURN_IF_ERROR(LockToSend(session, params.chat_id));
  PARLEY_ASSIGN_OR_RETURN(const std::int64_t id, NextId(session, "scheduled_message_id_seq"));
  const absl::StatusOr<std::optional<std::int64_t>> first =
      ClaimRequest(session, KeyOf(params), id);
  if (absl::IsAlreadyExists(first.status())) return RequestIdReused(params.request_id);
  PARLEY_RETURN_IF_ERROR(first.status());
  if (*first) return Get(session, {params.chat_id, **first});
  PARLEY_RETURN_IF_ERROR(CheckMaySend(session, params));
  PARLEY_ASSIGN_OR_RETURN(const Task task,
                          TaskRepository::CreateInTransaction(session, TaskFor(params, id)));
  std::optional<std::int64_t> reply_to_seq;
  if (params.reply_to_seq != 0) reply_to_seq = params.reply_to_seq;
  PARLEY_RETURN_IF_ERROR(
      session
          .Execute(sql::schedule::InsertScheduledMessage, {{"chat_id", params.chat_id},
                                                           {"id", id},
                                                           {"user_id", params.user_id},
                                                           {"text", params.text},
                                                           {"reply_to_seq", reply_to_seq},
                                                           {"task_id", task.id}})
          .status());
  return Get(session, {params.chat_id, id});
}

absl::Status CheckMayCancel(Session& session, const ScheduledMessage& scheduled,
                            std::int64_t user_id) {
  if (scheduled.user_id == user_id) return absl::OkStatus();
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> moderator,
      session.QueryOptional<IdRow>(sql::message::FindManager,
                                   {{"chat_id", scheduled.chat_id}, {"user_id", user_id}}));
  if (moderator) return absl::OkStatus();
  return Error(absl::StatusCode::kPermissionDenied, reason::kNotPermitted,
               absl::StrCat("user ", user_id, " may not cancel the scheduled message"),
               {{"user_id", absl::StrCat(user_id)}});
}

// Keeps its task from sending it. False: it is too late. An attempt whose end nobody knows may have
// sent it although its task is pending; under the chat's lock that can be told.
absl::StatusOr<bool> StopTask(Session& session, const ScheduledMessage& scheduled) {
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> sent,
      session.QueryOptional<IdRow>(sql::schedule::FindSentMessage,
                                   {{"chat_id", scheduled.chat_id},
                                    {"user_id", scheduled.user_id},
                                    {"request_id", RequestIdOfTask(scheduled.task_id)}}));
  if (sent) return false;
  return TaskRepository::CancelInTransaction(session, scheduled.task_id);
}

absl::StatusOr<ScheduledMessage> CancelIn(Session& session, std::int64_t id, std::int64_t user_id) {
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> chat,
      session.QueryOptional<IdRow>(sql::schedule::FindChatOfScheduledMessage, {{"id", id}}));
  if (!chat) return ScheduledMessageNotFound(id);
  const ScheduledMessageRepository::Key key{chat->id, id};
  PARLEY_RETURN_IF_ERROR(LockToSend(session, key.chat_id));
  PARLEY_RETURN_IF_ERROR(session
                             .QueryOptional<IdRow>(sql::schedule::LockScheduledMessage,
                                                   {{"chat_id", key.chat_id}, {"id", key.id}})
                             .status());
  PARLEY_ASSIGN_OR_RETURN(ScheduledMessage scheduled, Get(session, key));
  PARLEY_RETURN_IF_ERROR(CheckMayCancel(session, scheduled, user_id));
  if (scheduled.state == ScheduledMessageState::kCancelled) return scheduled;
  bool stopped = scheduled.state == ScheduledMessageState::kScheduled;
  if (stopped) {
    PARLEY_ASSIGN_OR_RETURN(stopped, StopTask(session, scheduled));
  }
  if (!stopped) {
    return Error(absl::StatusCode::kFailedPrecondition, reason::kScheduledMessageEnded,
                 absl::StrCat("scheduled message ", id,
                              " has been sent, has failed, or is being sent at this moment"),
                 {{"scheduled_message_id", absl::StrCat(id)}});
  }
  PARLEY_RETURN_IF_ERROR(
      session.Execute(sql::schedule::MarkCancelled, {{"chat_id", key.chat_id}, {"id", key.id}})
          .status());
  return Get(session, key);
}

}  // namespace

std::string RequestIdOfTask(std::int64_t task_id) { return absl::StrCat("task ", task_id); }

std::optional<ScheduledMessageRepository::Key> ScheduledMessageRepository::KeyOf(const Task& task) {
  Key key;
  const auto chat = task.headers.find(kChatHeader);
  const auto id = task.headers.find(kIdHeader);
  if (chat == task.headers.end() || !absl::SimpleAtoi(chat->second, &key.chat_id) ||
      id == task.headers.end() || !absl::SimpleAtoi(id->second, &key.id)) {
    return std::nullopt;
  }
  return key;
}

absl::StatusOr<ScheduledMessage> ScheduledMessageRepository::Schedule(const ScheduleParams& params,
                                                                      absl::Time deadline) {
  return RunTransaction(
      pool_, deadline,
      params.request_id.empty() ? OnLostCommit::kInDoubt : OnLostCommit::kSafeToRetry,
      [&](Session& session) { return ScheduleIn(session, params); });
}

absl::StatusOr<ScheduledMessage> ScheduledMessageRepository::Cancel(std::int64_t id,
                                                                    std::int64_t user_id,
                                                                    absl::Time deadline) {
  return RunTransaction(pool_, deadline, OnLostCommit::kSafeToRetry,
                        [&](Session& session) { return CancelIn(session, id, user_id); });
}

absl::StatusOr<Page<ScheduledMessage, std::int64_t>> ScheduledMessageRepository::List(
    const ListParams& params, absl::Time deadline) {
  using ScheduledPage = Page<ScheduledMessage, std::int64_t>;
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<ScheduledPage> {
    PARLEY_ASSIGN_OR_RETURN(
        std::vector<ScheduledMessage> rows,
        session.Query<ScheduledMessage>(
            sql::schedule::ListScheduledMessages,
            {{"user_id", params.user_id},
             {"before", params.page.after.value_or(std::numeric_limits<std::int64_t>::max())},
             {"chat_id", params.chat_id},
             {"state", params.state ? StateLabel(*params.state) : absl::string_view()},
             {"offset", params.page.offset},
             {"limit", params.page.limit + 1}}));
    if (rows.empty()) {
      PARLEY_ASSIGN_OR_RETURN(
          const std::optional<User> user,
          session.QueryOptional<User>(sql::user::GetUser, {{"id", params.user_id}}));
      if (!user) return UserNotFound(params.user_id);
    }
    return CutPage<std::int64_t>(std::move(rows), params.page.limit,
                                 [](const ScheduledMessage& scheduled) { return scheduled.id; });
  });
}

absl::StatusOr<std::optional<ScheduledMessage>> ScheduledMessageRepository::Find(
    const Key& key, absl::Time deadline) {
  return RunOnce(
      pool_, deadline, [&](Session& session) -> absl::StatusOr<std::optional<ScheduledMessage>> {
        return session.QueryOptional<ScheduledMessage>(sql::schedule::GetScheduledMessage,
                                                       {{"chat_id", key.chat_id}, {"id", key.id}});
      });
}

absl::Status ScheduledMessageRepository::MarkSent(const Key& key, std::int64_t seq,
                                                  const LeaseKey& lease, absl::Time deadline) {
  return RunTransaction(
             pool_, deadline, OnLostCommit::kSafeToRetry,
             [&](Session& session) -> absl::StatusOr<std::int64_t> {
               PARLEY_ASSIGN_OR_RETURN(
                   const std::int64_t marked,
                   session.Execute(sql::schedule::MarkSent,
                                   {{"chat_id", key.chat_id}, {"id", key.id}, {"seq", seq}}));
               PARLEY_RETURN_IF_ERROR(TaskRepository::AckInTransaction(session, lease));
               return marked;
             })
      .status();
}

absl::Status ScheduledMessageRepository::MarkFailed(const Key& key, absl::string_view reason,
                                                    const LeaseKey& lease, absl::Time deadline) {
  return RunTransaction(
             pool_, deadline, OnLostCommit::kSafeToRetry,
             [&](Session& session) -> absl::StatusOr<std::int64_t> {
               PARLEY_ASSIGN_OR_RETURN(
                   const std::int64_t marked,
                   session.Execute(
                       sql::schedule::MarkFailed,
                       {{"chat_id", key.chat_id}, {"id", key.id}, {"failure_reason", reason}}));
               PARLEY_RETURN_IF_ERROR(TaskRepository::GiveUpInTransaction(session, lease, reason));
               return marked;
             })
      .status();
}

}  // namespace parley::db
