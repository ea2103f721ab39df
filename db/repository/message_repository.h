// Messages in PostgreSQL.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/merge_lane.h"
#include "db/core/read_lane.h"
#include "db/core/session.h"
#include "db/core/session_pool.h"
#include "db/model/message.h"
#include "db/model/page.h"
#include "db/repository/message_sender.h"

namespace parley::db {

// NOT_FOUND, reason MESSAGE_NOT_FOUND.
absl::Status MessageNotFound(const MessageKey& key);

// Thread-safe. Calls that take a `done` return at once and answer through it, once, on a thread
// that must not be blocked; they go through the hot lanes. The others block until `deadline` at
// most. Every call may end with UNAVAILABLE or DEADLINE_EXCEEDED besides what it says; writes also
// with ABORTED and UNKNOWN (transaction.h); those of the hot lanes with RESOURCE_EXHAUSTED.
class MessageRepository {
 public:
  struct Options {
    std::string language = "simple";  // text search configuration of what is written
    std::int32_t send_lanes = 2;      // a connection and a thread each; chats are spread over them
    std::int32_t read_connections = 2;  // of the read lane
    MergeLane::Options send;
    std::size_t read_queue = 1000;
  };
  explicit MessageRepository(SessionPool& pool) : MessageRepository(pool, Options()) {}
  MessageRepository(SessionPool& pool, const Options& options);

  using SendParams = db::SendParams;
  // Inside a chat, commit order is seq order is the order of these calls. One commit; each message
  // has its own outcome. NOT_FOUND: CHAT_NOT_FOUND; MESSAGE_NOT_FOUND, of reply_to_seq.
  // PERMISSION_DENIED: NOT_A_MEMBER, USER_BLOCKED. ALREADY_EXISTS: REQUEST_ID_REUSED.
  // `abandoned` tells whether the caller has left; it may be asked until `done` is called.
  void Send(std::vector<SendParams> messages, absl::Time deadline,
            std::function<void(SendOp::Outcomes)> done, std::function<bool()> abandoned = {});
  // One message; blocks.
  absl::StatusOr<Message> Send(const SendParams& params, absl::Time deadline);

  using MessageDone = std::function<void(absl::StatusOr<Message>)>;
  using MessagesDone = std::function<void(absl::StatusOr<std::vector<Message>>)>;
  // A tombstone too. NOT_FOUND: MESSAGE_NOT_FOUND.
  void Get(const MessageKey& key, absl::Time deadline, MessageDone done);
  // Those that exist, in no order; tombstones too.
  void BatchGet(const std::vector<std::int64_t>& ids, absl::Time deadline, MessagesDone done);
  void BatchGet(std::int64_t chat_id, const std::vector<std::int64_t>& seqs, absl::Time deadline,
                MessagesDone done);

  enum class Anchor { kNewest, kBefore, kAfter, kAround, kBeforeTime };
  struct ListParams {
    std::int64_t chat_id = 0;
    Anchor anchor = Anchor::kNewest;
    std::int64_t seq = 0;       // kBefore, kAfter (exclusive), kAround
    absl::Time before_time;     // kBeforeTime
    std::int32_t limit = 20;    // at least 1
    std::int64_t offset = 0;    // in messages that would be listed; 0 with kAround
    bool show_deleted = false;  // list, and count, tombstones
  };
  using MessagePage = Page<Message, std::int64_t>;
  // Newest first; with kAfter oldest first. `next` continues as kBefore, or kAfter. NOT_FOUND:
  // CHAT_NOT_FOUND.
  void List(const ListParams& params, absl::Time deadline,
            std::function<void(absl::StatusOr<MessagePage>)> done);

  struct EditParams {
    MessageKey key;
    std::int64_t user_id = 0;
    std::string text;
    std::optional<std::int64_t> version;  // what it must be now
  };
  // What it said is kept as a revision. NOT_FOUND: MESSAGE_NOT_FOUND. PERMISSION_DENIED:
  // NOT_PERMITTED, not the author. FAILED_PRECONDITION: MESSAGE_DELETED. ABORTED: ETAG_MISMATCH.
  absl::StatusOr<Message> Edit(const EditParams& params, absl::Time deadline);

  // Returns the tombstone. NOT_FOUND: MESSAGE_NOT_FOUND. PERMISSION_DENIED: NOT_PERMITTED, neither
  // the author nor an owner or admin of the chat.
  absl::StatusOr<Message> Delete(const MessageKey& key, std::int64_t user_id, absl::Time deadline);

  // The latest first; `after` is a revision. NOT_FOUND: MESSAGE_NOT_FOUND.
  absl::StatusOr<Page<MessageRevision, std::int32_t>> ListRevisions(
      const MessageKey& key, const PageParams<std::int32_t>& page, absl::Time deadline);

  // Moves a member's mark forward, at most to the last message. NOT_FOUND: CHAT_NOT_FOUND.
  // PERMISSION_DENIED: NOT_A_MEMBER.
  absl::Status MarkRead(std::int64_t chat_id, std::int64_t user_id, std::int64_t seq,
                        absl::Time deadline);

  using UnreadDone = std::function<void(absl::StatusOr<std::vector<UnreadCount>>)>;
  // Of all chats of the user, or of those of `chat_ids`, by chat id. NOT_FOUND: USER_NOT_FOUND.
  void GetUnreadCounts(std::int64_t user_id, const std::vector<std::int64_t>& chat_ids,
                       absl::Time deadline, UnreadDone done);

  std::vector<LaneView> send_lanes() const;
  LaneView read_lane() { return read_lane_.view(); }

 private:
  MergeLane& LaneOf(std::int64_t chat_id);
  void Read(HotStep step, absl::Time deadline, std::function<void(absl::StatusOr<HotResult>)> done);
  void ListAround(const ListParams& params, absl::Time deadline,
                  std::function<void(absl::StatusOr<MessagePage>)> done);

  SessionPool& pool_;
  const std::string language_;
  std::vector<std::unique_ptr<MergeLane>> send_lanes_;
  ReadLane read_lane_;
};

}  // namespace parley::db
