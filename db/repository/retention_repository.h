// What has outlived its chat's retention, in PostgreSQL: hidden first, removed later.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/session_pool.h"

namespace parley::db {

// Hides what is too old in a chat. `session` is in a transaction that has the chat's row locked.
absl::Status HideExpired(Session& session, std::int64_t chat_id);

// Any number of processes may work side by side; they keep out of each other's way. Thread-safe.
// Every call blocks until `deadline` at most, and may end with UNAVAILABLE or DEADLINE_EXCEEDED;
// Tend also with ABORTED (transaction.h).
class RetentionRepository {
 public:
  explicit RetentionRepository(SessionPool& pool) : pool_(pool) {}

  // Chats in which something is to be hidden or removed, at most `limit`, the longest overdue
  // first.
  absl::StatusOr<std::vector<std::int64_t>> FindChats(std::int32_t limit, absl::Time deadline);

  enum class Tended {
    kByOthers,  // others have the chat in their hands, or have just seen to it
    kRested,    // nothing is left to remove for now
    kPurged,    // some were removed, and there may be more
  };
  // Hides what has expired in one chat, waiting half a second at most for its lock, and removes
  // some of what is hidden: at most kSteps times kStepRows, each step with a commit of its own.
  absl::StatusOr<Tended> Tend(std::int64_t chat_id, absl::Time deadline);

  static constexpr int kSteps = 10;
  static constexpr std::int64_t kStepRows = 500;

 private:
  SessionPool& pool_;
};

}  // namespace parley::db
