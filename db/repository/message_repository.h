// Messages in PostgreSQL.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/session.h"
#include "db/core/session_pool.h"
#include "db/model/message.h"
#include "db/model/page.h"

namespace parley::db {

// Thread-safe. Every call blocks until `deadline` at most, and may end with UNAVAILABLE or
// DEADLINE_EXCEEDED besides what it says; writes also with ABORTED and UNKNOWN (transaction.h).
class MessageRepository {
 public:
  explicit MessageRepository(SessionPool& pool) : pool_(pool) {}

  struct SendParams {
    std::int64_t chat_id = 0;
    std::int64_t user_id = 0;
    std::string text;
    std::string request_id;   // empty: not remembered
    std::string fingerprint;  // of the content
  };
  // Inside a chat, commit order is seq order. NOT_FOUND: CHAT_NOT_FOUND. PERMISSION_DENIED:
  // NOT_A_MEMBER, USER_BLOCKED. ALREADY_EXISTS: REQUEST_ID_REUSED.
  absl::StatusOr<Message> Send(const SendParams& params, absl::Time deadline);

  // A tombstone too. NOT_FOUND: MESSAGE_NOT_FOUND.
  absl::StatusOr<Message> Get(const MessageKey& key, absl::Time deadline);

  enum class Direction { kNewestFirst, kOldestFirst };
  struct ListParams {
    std::int64_t chat_id = 0;
    Direction direction = Direction::kNewestFirst;
    PageParams<std::int64_t> page;  // `after` is a seq, exclusive, in the list's direction
  };
  // Without tombstones. NOT_FOUND: CHAT_NOT_FOUND.
  absl::StatusOr<Page<Message, std::int64_t>> List(const ListParams& params, absl::Time deadline);

  struct EditParams {
    MessageKey key;
    std::int64_t user_id = 0;
    std::string text;
    std::optional<std::int64_t> version;  // what it must be now
  };
  // NOT_FOUND: MESSAGE_NOT_FOUND. PERMISSION_DENIED: NOT_PERMITTED, not the author.
  // FAILED_PRECONDITION: MESSAGE_DELETED. ABORTED: ETAG_MISMATCH.
  absl::StatusOr<Message> Edit(const EditParams& params, absl::Time deadline);

  // Returns the tombstone. NOT_FOUND: MESSAGE_NOT_FOUND. PERMISSION_DENIED: NOT_PERMITTED, neither
  // the author nor an owner or admin of the chat.
  absl::StatusOr<Message> Delete(const MessageKey& key, std::int64_t user_id, absl::Time deadline);

 private:
  SessionPool& pool_;
};

}  // namespace parley::db
