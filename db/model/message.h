// Messages, as stored.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace parley {

struct Message {
  std::int64_t id = 0;
  std::int64_t chat_id = 0;
  std::int64_t seq = 0;  // 1, 2, 3... in the chat, in commit order, without holes
  std::int64_t user_id = 0;
  std::string text;  // empty when deleted
  absl::Time create_time;
  absl::Time update_time;
  bool deleted = false;           // a tombstone
  std::int32_t revision = 1;      // one more with every edit
  std::int64_t version = 1;       // one more with every change; the etag
  std::int64_t reply_to_seq = 0;  // the message that this one answers, in the same chat; 0: none
};

// What a message said at one time.
struct MessageRevision {
  std::int32_t revision = 0;
  std::string text;
  absl::Time create_time;
};

// How much of a chat a member has not read.
struct UnreadCount {
  std::int64_t chat_id = 0;
  std::int64_t read_seq = 0;
  std::int64_t last_seq = 0;
  std::int64_t unread = 0;
};

// Names a message: by id, or by chat_id and seq. What is not used is 0.
struct MessageKey {
  std::int64_t id = 0;
  std::int64_t chat_id = 0;
  std::int64_t seq = 0;
};

}  // namespace parley
