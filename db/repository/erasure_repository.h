// Erasures of users in PostgreSQL: what happens at once, and the steps of the rest.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/session_pool.h"
#include "db/model/erasure.h"
#include "db/repository/task_repository.h"

namespace parley::db {

// FAILED_PRECONDITION, reason USER_ERASED, if the user is being, or has been, erased. `session` is
// in a transaction that has the user's row locked.
absl::Status CheckNotErased(Session& session, std::int64_t user_id);

// Thread-safe. Every call blocks until `deadline` at most, and may end with UNAVAILABLE or
// DEADLINE_EXCEEDED besides what it says; writes also with ABORTED (transaction.h).
class ErasureRepository {
 public:
  explicit ErasureRepository(SessionPool& pool) : pool_(pool) {}

  // Blocks the user, takes login, name and password away, and writes the task that does the rest. A
  // second call returns the same erasure; if its task has ended before it did, with a new task.
  // NOT_FOUND: USER_NOT_FOUND.
  absl::StatusOr<Erasure> Begin(std::int64_t user_id, absl::Time deadline);

  // NOT_FOUND: ERASURE_NOT_FOUND.
  absl::StatusOr<Erasure> Get(std::int64_t user_id, absl::Time deadline);

  // The steps, in the order in which they are to be taken. Each is a transaction, may be repeated,
  // and says whether it found anything to do; then there may be more.

  // The user leaves one chat; if it was the last owner, the longest-standing admin, or else member,
  // becomes owner.
  absl::StatusOr<bool> LeaveChat(std::int64_t user_id, absl::Time deadline);

  // Cancels what the user has scheduled in one chat and takes its text away, at most kStepRows.
  absl::StatusOr<bool> WipeScheduled(std::int64_t user_id, absl::Time deadline);

  // A place in the author's messages, in the order of chats.
  struct Place {
    std::int64_t chat_id = 0;
    std::int64_t seq = 0;
  };
  // Turns at most kStepRows messages of one chat, those after `place`, into tombstones without
  // revisions and request ids, and moves `place` behind them.
  absl::StatusOr<bool> Redact(std::int64_t user_id, Place& place, absl::Time deadline);

  // Forgets request ids: at most kStepRows of those with which the user created chats, as many of
  // those that scheduled messages, and of those of messages that retention has removed.
  absl::StatusOr<bool> ForgetRequests(std::int64_t user_id, absl::Time deadline);

  // The last step: forgets the request that created the user and ends erasure and task together.
  // ABORTED: LEASE_LOST, and nothing has changed.
  absl::Status Finish(std::int64_t user_id, const LeaseKey& lease, absl::Time deadline);

  static constexpr std::int64_t kStepRows = 500;

  // Whom a task is about; 0: it was made by somebody else.
  static std::int64_t UserOf(const Task& task);

 private:
  SessionPool& pool_;
};

}  // namespace parley::db
