// Chats and memberships in PostgreSQL.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/session_pool.h"
#include "db/model/chat.h"
#include "db/model/page.h"

namespace parley::db {

// Thread-safe. Every call blocks until `deadline` at most, and may end with UNAVAILABLE or
// DEADLINE_EXCEEDED besides what it says; writes also with ABORTED and UNKNOWN (transaction.h).
// Every Chat comes with its first kMaxChatUsers users.
class ChatRepository {
 public:
  explicit ChatRepository(SessionPool& pool) : pool_(pool) {}

  struct CreateParams {
    std::int64_t creator_user_id = 0;
    std::string title;
    std::optional<std::string> description;
    ChatType chat_type = ChatType::kPrivate;
    std::optional<absl::Duration> retention;  // of messages; absent: for ever
    std::vector<std::int64_t> user_ids;       // sorted, each once, the creator among them
    std::string request_id;                   // empty: not remembered
    std::string fingerprint;                  // of the content
  };
  // The creator becomes the owner. NOT_FOUND: USER_NOT_FOUND; CHAT_NOT_FOUND, the chat that the
  // request id created is gone. FAILED_PRECONDITION: USER_BLOCKED. ALREADY_EXISTS:
  // REQUEST_ID_REUSED.
  absl::StatusOr<Chat> Create(const CreateParams& params, absl::Time deadline);

  // NOT_FOUND: CHAT_NOT_FOUND.
  absl::StatusOr<Chat> Get(std::int64_t id, absl::Time deadline);

  // Those that exist, in no particular order.
  absl::StatusOr<std::vector<Chat>> BatchGet(const std::vector<std::int64_t>& ids,
                                             absl::Time deadline);

  // By id.
  absl::StatusOr<Page<Chat, std::int64_t>> List(const PageParams<std::int64_t>& page,
                                                std::optional<ChatType> chat_type,
                                                absl::Time deadline);

  // The chats of a user, by id. NOT_FOUND: USER_NOT_FOUND.
  absl::StatusOr<Page<Chat, std::int64_t>> ListOfUser(std::int64_t user_id,
                                                      const PageParams<std::int64_t>& page,
                                                      absl::Time deadline);

  // The members of a chat, by user id. NOT_FOUND: CHAT_NOT_FOUND.
  absl::StatusOr<Page<ChatMember, std::int64_t>> ListMembers(std::int64_t chat_id,
                                                             const PageParams<std::int64_t>& page,
                                                             absl::Time deadline);

  struct UpdateParams {
    std::int64_t id = 0;
    std::optional<std::string> title;  // absent: as it is
    bool set_description = false;
    std::optional<std::string> description;  // with set_description; absent removes it
    std::optional<ChatType> chat_type;
    bool set_retention = false;
    std::optional<absl::Duration> retention;  // with set_retention; absent: for ever
    std::optional<std::int64_t> version;      // what it must be now
  };
  // Messages that are older than a new retention are hidden at once. NOT_FOUND: CHAT_NOT_FOUND.
  // ABORTED: ETAG_MISMATCH.
  absl::StatusOr<Chat> Update(const UpdateParams& params, absl::Time deadline);

  // With memberships and messages. NOT_FOUND: CHAT_NOT_FOUND.
  absl::Status Delete(std::int64_t id, absl::Time deadline);

  struct AddMemberParams {
    std::int64_t chat_id = 0;
    std::int64_t user_id = 0;
    ChatRole role = ChatRole::kMember;
    std::string request_id;   // empty: not remembered
    std::string fingerprint;  // of the content
  };
  // A member stays what it is. NOT_FOUND: CHAT_NOT_FOUND, USER_NOT_FOUND.
  // FAILED_PRECONDITION: USER_BLOCKED. ALREADY_EXISTS: REQUEST_ID_REUSED.
  absl::StatusOr<Chat> AddMember(const AddMemberParams& params, absl::Time deadline);

  // Who is no member stays none. NOT_FOUND: CHAT_NOT_FOUND. FAILED_PRECONDITION: LAST_OWNER.
  absl::StatusOr<Chat> RemoveMember(std::int64_t chat_id, std::int64_t user_id,
                                    absl::Time deadline);

 private:
  SessionPool& pool_;
};

// NOT_FOUND, reason CHAT_NOT_FOUND.
absl::Status ChatNotFound(std::int64_t id);

// PERMISSION_DENIED, reason NOT_A_MEMBER.
absl::Status NotAMember(std::int64_t chat_id, std::int64_t user_id);

}  // namespace parley::db
