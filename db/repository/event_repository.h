// What happens in chats, read from PostgreSQL.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/session_pool.h"
#include "db/model/message_event.h"

namespace parley::db {

// Hints, by NOTIFY (notifier.h): ids of chats in which something has happened, and of users who
// have come into chats or have left them.
inline constexpr char kMessageChannel[] = "parley_messages";
inline constexpr char kMemberChannel[] = "parley_members";

// Thread-safe; reads only. Every call blocks until `deadline` at most, and may end with UNAVAILABLE
// or DEADLINE_EXCEEDED besides what it says.
class EventRepository {
 public:
  explicit EventRepository(SessionPool& pool) : pool_(pool) {}

  // Where the chats are now; those that do not exist are left out.
  using Positions = std::unordered_map<std::int64_t, ChatPosition>;
  absl::StatusOr<Positions> FindPositions(const std::vector<std::int64_t>& chat_ids,
                                          absl::Time deadline);

  // The chats that are beyond what is known of them.
  absl::StatusOr<std::vector<std::int64_t>> FindMoved(
      const std::vector<std::pair<std::int64_t, ChatPosition>>& known, absl::Time deadline);

  struct ReadParams {
    std::int64_t chat_id = 0;
    ChatPosition after;
    std::int64_t limit = 500;            // messages, and again as many changes, at most
    std::size_t max_bytes = 256 * 1024;  // cut there, but never before the first event
  };
  // Who is at `after` and is shown `events` is at `end`.
  struct Batch {
    std::vector<MessageEvent> events;
    ChatPosition end;
    bool more = false;  // there was more when this was read
  };
  // What happened in a chat after a position: messages first, in the order of their seq, then
  // changes of messages up to end.seq, in their order. Messages are as they are now; those that
  // retention hides are left out, and their changes. NOT_FOUND: CHAT_NOT_FOUND.
  absl::StatusOr<Batch> Read(const ReadParams& params, absl::Time deadline);

  // All memberships of the users, in no particular order.
  absl::StatusOr<std::vector<Membership>> ListMemberships(const std::vector<std::int64_t>& user_ids,
                                                          absl::Time deadline);

  // Those of the users who are in the chat, in no particular order.
  absl::StatusOr<std::vector<Membership>> FindMembers(std::int64_t chat_id,
                                                      const std::vector<std::int64_t>& user_ids,
                                                      absl::Time deadline);

  // Those of the users who exist, in no particular order.
  absl::StatusOr<std::vector<std::int64_t>> FindUsers(const std::vector<std::int64_t>& user_ids,
                                                      absl::Time deadline);

 private:
  SessionPool& pool_;
};

}  // namespace parley::db
