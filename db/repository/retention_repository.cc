#include "db/repository/retention_repository.h"

#include <algorithm>
#include <optional>

#include "base/clock.h"
#include "base/status_macros.h"
#include "db/core/transaction.h"
#include "db/repository/columns.h"
#include "db/repository/statements.h"

namespace parley::db {
namespace {

using Tended = RetentionRepository::Tended;

constexpr absl::Duration kLockPatience = absl::Milliseconds(500);

// Hides, and lets the chat rest if there is nothing to remove. kPurged: there is.
absl::StatusOr<Tended> HideIn(Session& session, std::int64_t chat_id) {
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> chat,
      session.QueryOptional<IdRow>(sql::retention::LockChatToTend, {{"chat_id", chat_id}}));
  if (!chat) return Tended::kByOthers;
  PARLEY_RETURN_IF_ERROR(HideExpired(session, chat_id));
  PARLEY_ASSIGN_OR_RETURN(const std::int64_t rested,
                          session.Execute(sql::retention::RestChat, {{"chat_id", chat_id}}));
  return rested > 0 ? Tended::kRested : Tended::kPurged;
}

absl::StatusOr<std::int64_t> PurgeIn(Session& session, std::int64_t chat_id) {
  PARLEY_RETURN_IF_ERROR(
      session.QueryOptional<IdRow>(sql::retention::LockChatToPurge, {{"chat_id", chat_id}})
          .status());
  return session.Execute(sql::retention::PurgeMessages,
                         {{"chat_id", chat_id}, {"limit", RetentionRepository::kStepRows}});
}

}  // namespace

absl::Status HideExpired(Session& session, std::int64_t chat_id) {
  return session.Execute(sql::retention::HideExpired, {{"chat_id", chat_id}}).status();
}

absl::StatusOr<std::vector<std::int64_t>> RetentionRepository::FindChats(std::int32_t limit,
                                                                         absl::Time deadline) {
  return RunOnce(pool_, deadline,
                 [&](Session& session) -> absl::StatusOr<std::vector<std::int64_t>> {
                   PARLEY_ASSIGN_OR_RETURN(
                       const std::vector<IdRow> rows,
                       session.Query<IdRow>(sql::retention::FindChatsToTend, {{"limit", limit}}));
                   std::vector<std::int64_t> chats;
                   chats.reserve(rows.size());
                   for (const IdRow& row : rows) chats.push_back(row.id);
                   return chats;
                 });
}

absl::StatusOr<Tended> RetentionRepository::Tend(std::int64_t chat_id, absl::Time deadline) {
  // Transactions of their own: removing takes its time, and nobody is to wait for the chat
  // meanwhile.
  absl::StatusOr<Tended> hidden = RunTransaction(
      pool_, std::min(deadline, SteadyNow() + kLockPatience), OnLostCommit::kSafeToRetry,
      [&](Session& session) { return HideIn(session, chat_id); });
  if (absl::IsDeadlineExceeded(hidden.status())) return Tended::kByOthers;
  if (!hidden.ok() || *hidden != Tended::kPurged) return hidden;
  bool purged = false;
  for (int step = 0; step < kSteps; ++step) {
    PARLEY_ASSIGN_OR_RETURN(
        const std::int64_t removed,
        RunTransaction(pool_, deadline, OnLostCommit::kSafeToRetry,
                       [&](Session& session) { return PurgeIn(session, chat_id); }));
    purged = purged || removed > 0;
    if (removed < kStepRows) break;
  }
  // None: those that are left are locked by another process, which removes them.
  return purged ? Tended::kPurged : Tended::kByOthers;
}

}  // namespace parley::db
