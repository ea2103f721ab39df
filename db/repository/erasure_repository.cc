#include "db/repository/erasure_repository.h"

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/transaction.h"
#include "db/repository/chat_rows.h"
#include "db/repository/columns.h"
#include "db/repository/statements.h"
#include "db/repository/task_rows.h"
#include "db/repository/user_repository.h"

namespace parley::db {

struct ErasureRow {
  Erasure erasure;
  std::string task_state;
};

// What a redacted batch was.
struct BatchRow {
  std::int64_t found = 0;
  std::int64_t last_seq = 0;
  std::int64_t erased = 0;
};

}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::db::ErasureRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::ErasureRow& out) {
    parley::Erasure& erasure = out.erasure;
    erasure.user_id = row.get<long long>("user_id");
    erasure.messages_erased = row.get<long long>("messages_erased");
    erasure.messages_remaining = row.get<long long>("messages_remaining");
    erasure.create_time = parley::db::TimeColumn(row, "create_us");
    erasure.finish_time.reset();
    if (row.get_indicator("finish_us") != i_null) {
      erasure.finish_time = parley::db::TimeColumn(row, "finish_us");
    }
    erasure.task_id = row.get<long long>("task_id");
    erasure.last_error = row.get<std::string>("last_error");
    out.task_state = row.get<std::string>("task_state");
  }
};

template <>
struct type_conversion<parley::db::BatchRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::BatchRow& out) {
    out.found = row.get<long long>("found");
    out.last_seq = row.get<long long>("last_seq");
    out.erased = row.get<long long>("erased");
  }
};

}  // namespace soci

namespace parley::db {
namespace {

constexpr char kUserHeader[] = "user_id";

bool HasEnded(absl::string_view task_state) {
  return task_state != ToLabel(TaskState::kPending) && task_state != ToLabel(TaskState::kRunning);
}

absl::StatusOr<std::optional<ErasureRow>> Read(Session& session, std::int64_t user_id) {
  PARLEY_ASSIGN_OR_RETURN(
      std::optional<ErasureRow> row,
      session.QueryOptional<ErasureRow>(sql::erasure::GetErasure, {{"user_id", user_id}}));
  if (!row) return row;
  std::string& error = row->erasure.last_error;
  if (row->erasure.finish_time) {
    error.clear();
  } else if (HasEnded(row->task_state)) {
    error = std::string(reason::kAttemptsExhausted);
  } else if (std::any_of(error.begin(), error.end(), absl::ascii_islower)) {
    error = std::string(reason::kLeaseLost);  // what the rescue of a lease that ran out has written
  }
  return row;
}

absl::StatusOr<Erasure> ReadExisting(Session& session, std::int64_t user_id) {
  PARLEY_ASSIGN_OR_RETURN(std::optional<ErasureRow> row, Read(session, user_id));
  if (row) return std::move(row->erasure);
  return Error(absl::StatusCode::kNotFound, reason::kErasureNotFound,
               absl::StrCat("user ", user_id, " has not been erased"),
               {{"user_id", absl::StrCat(user_id)}});
}

absl::StatusOr<std::int64_t> CreateTask(Session& session, std::int64_t user_id) {
  NewTask task;
  task.queue = kEraseUserQueue;
  task.name = "erase a user";
  task.headers = {{kUserHeader, absl::StrCat(user_id)}};
  task.max_attempts = kOwnMaxAttempts;
  task.retry = kOwnRetry;
  PARLEY_ASSIGN_OR_RETURN(const Task created, TaskRepository::CreateInTransaction(session, task));
  return created.id;
}

absl::StatusOr<Erasure> BeginIn(Session& session, std::int64_t user_id) {
  PARLEY_ASSIGN_OR_RETURN(const std::optional<IdRow> user,
                          session.QueryOptional<IdRow>(sql::user::LockUser, {{"id", user_id}}));
  if (!user) return UserNotFound(user_id);
  PARLEY_ASSIGN_OR_RETURN(const std::optional<ErasureRow> before, Read(session, user_id));
  if (before && (before->erasure.finish_time || !HasEnded(before->task_state))) {
    return before->erasure;
  }
  PARLEY_ASSIGN_OR_RETURN(const std::int64_t task_id, CreateTask(session, user_id));
  if (!before) {
    PARLEY_RETURN_IF_ERROR(
        session.Execute(sql::erasure::AnonymizeUser, {{"user_id", user_id}}).status());
    PARLEY_RETURN_IF_ERROR(
        session.Execute(sql::erasure::ForgetLegacyPassword, {{"user_id", user_id}}).status());
  }
  PARLEY_RETURN_IF_ERROR(
      session
          .Execute(before ? sql::erasure::RenewErasure : sql::erasure::InsertErasure,
                   {{"user_id", user_id}, {"task_id", task_id}})
          .status());
  return ReadExisting(session, user_id);
}

// Waits for whoever writes to the chat. False: it is gone, with all that was in it.
absl::StatusOr<bool> LockIfThere(Session& session, std::int64_t chat_id) {
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> chat,
      session.QueryOptional<IdRow>(sql::message::LockChatToSend, {{"chat_id", chat_id}}));
  return chat.has_value();
}

absl::Status LeaveIn(Session& session, std::int64_t user_id, std::int64_t chat_id) {
  PARLEY_RETURN_IF_ERROR(LockIfThere(session, chat_id).status());
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<RoleRow> removed,
      session.QueryOptional<RoleRow>(sql::chat::DeleteMember,
                                     {{"chat_id", chat_id}, {"user_id", user_id}}));
  if (!removed) return absl::OkStatus();
  PARLEY_RETURN_IF_ERROR(
      session.Execute(sql::chat::AddToUserCount, {{"id", chat_id}, {"difference", -1}}).status());
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> owner,
      session.QueryOptional<IdRow>(sql::chat::FindOwner, {{"chat_id", chat_id}}));
  if (owner || removed->role != ChatRole::kOwner) return absl::OkStatus();
  return session.Execute(sql::erasure::PromoteHeir, {{"chat_id", chat_id}}).status();
}

}  // namespace

absl::Status CheckNotErased(Session& session, std::int64_t user_id) {
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> erasure,
      session.QueryOptional<IdRow>(sql::erasure::FindErasure, {{"user_id", user_id}}));
  if (!erasure) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, reason::kUserErased,
               absl::StrCat("user ", user_id, " has been erased"),
               {{"user_id", absl::StrCat(user_id)}});
}

std::int64_t ErasureRepository::UserOf(const Task& task) {
  std::int64_t user_id = 0;
  const auto user = task.headers.find(kUserHeader);
  if (user == task.headers.end() || !absl::SimpleAtoi(user->second, &user_id)) return 0;
  return user_id;
}

absl::StatusOr<Erasure> ErasureRepository::Begin(std::int64_t user_id, absl::Time deadline) {
  return RunTransaction(pool_, deadline, OnLostCommit::kSafeToRetry,
                        [&](Session& session) { return BeginIn(session, user_id); });
}

absl::StatusOr<Erasure> ErasureRepository::Get(std::int64_t user_id, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) { return ReadExisting(session, user_id); });
}

absl::StatusOr<bool> ErasureRepository::LeaveChat(std::int64_t user_id, absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry, [&](Session& session) -> absl::StatusOr<bool> {
        PARLEY_ASSIGN_OR_RETURN(
            const std::optional<IdRow> chat,
            session.QueryOptional<IdRow>(sql::erasure::FindChatToLeave, {{"user_id", user_id}}));
        if (!chat) return false;
        PARLEY_RETURN_IF_ERROR(LeaveIn(session, user_id, chat->id));
        return true;
      });
}

absl::StatusOr<bool> ErasureRepository::WipeScheduled(std::int64_t user_id, absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry, [&](Session& session) -> absl::StatusOr<bool> {
        PARLEY_ASSIGN_OR_RETURN(const std::optional<IdRow> chat,
                                session.QueryOptional<IdRow>(sql::erasure::FindChatWithScheduled,
                                                             {{"user_id", user_id}}));
        if (!chat) return false;
        PARLEY_RETURN_IF_ERROR(LockIfThere(session, chat->id).status());
        PARLEY_RETURN_IF_ERROR(
            session
                .Execute(sql::erasure::WipeScheduled,
                         {{"chat_id", chat->id}, {"user_id", user_id}, {"limit", kStepRows}})
                .status());
        return true;
      });
}

absl::StatusOr<bool> ErasureRepository::Redact(std::int64_t user_id, Place& place,
                                               absl::Time deadline) {
  const auto next = RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry,
      [&](Session& session) -> absl::StatusOr<std::optional<Place>> {
        PARLEY_ASSIGN_OR_RETURN(
            const std::optional<IdRow> chat,
            session.QueryOptional<IdRow>(
                sql::erasure::FindChatToRedact,
                {{"user_id", user_id}, {"chat_id", place.chat_id}, {"seq", place.seq}}));
        if (!chat) return std::optional<Place>();
        PARLEY_RETURN_IF_ERROR(LockIfThere(session, chat->id).status());
        const std::int64_t after = chat->id == place.chat_id ? place.seq : 0;
        PARLEY_ASSIGN_OR_RETURN(
            const std::optional<BatchRow> batch,
            session.QueryOptional<BatchRow>(sql::erasure::RedactMessages, {{"user_id", user_id},
                                                                           {"chat_id", chat->id},
                                                                           {"after", after},
                                                                           {"limit", kStepRows}}));
        if (!batch) return InternalError("a batch of messages did not come back");
        PARLEY_RETURN_IF_ERROR(session
                                   .Execute(sql::erasure::CountErased,
                                            {{"user_id", user_id}, {"erased", batch->erased}})
                                   .status());
        // None: retention, or the chat's end, came first; the look for the next chat goes on.
        return std::optional<Place>({chat->id, batch->found > 0 ? batch->last_seq : after});
      });
  if (!next.ok()) return next.status();
  if (!*next) return false;
  place = **next;
  return true;
}

absl::StatusOr<bool> ErasureRepository::ForgetRequests(std::int64_t user_id, absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry, [&](Session& session) -> absl::StatusOr<bool> {
        std::int64_t forgotten = 0;
        for (const absl::string_view operation : {"CreateChat", "ScheduleMessage"}) {
          PARLEY_ASSIGN_OR_RETURN(
              const std::int64_t some,
              session.Execute(
                  sql::erasure::ForgetRequests,
                  {{"operation", operation}, {"user_id", user_id}, {"limit", kStepRows}}));
          forgotten += some;
        }
        PARLEY_ASSIGN_OR_RETURN(const std::int64_t retired,
                                session.Execute(sql::erasure::ForgetRetiredRequests,
                                                {{"user_id", user_id}, {"limit", kStepRows}}));
        return forgotten + retired > 0;
      });
}

absl::Status ErasureRepository::Finish(std::int64_t user_id, const LeaseKey& lease,
                                       absl::Time deadline) {
  return RunTransaction(
             pool_, deadline, OnLostCommit::kSafeToRetry,
             [&](Session& session) -> absl::StatusOr<bool> {
               PARLEY_RETURN_IF_ERROR(
                   session.Execute(sql::erasure::ForgetCreateRequest, {{"user_id", user_id}})
                       .status());
               PARLEY_RETURN_IF_ERROR(
                   session.Execute(sql::erasure::FinishErasure, {{"user_id", user_id}}).status());
               PARLEY_RETURN_IF_ERROR(TaskRepository::AckInTransaction(session, lease));
               return true;
             })
      .status();
}

}  // namespace parley::db
