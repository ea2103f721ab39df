// What happens to messages, and how far somebody has seen it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "db/model/message.h"

namespace parley {

// How much of a chat has been seen: all messages up to `seq`, all changes up to `event`.
//
// A position need not be one that the chat was ever at: messages are shown before changes, so that
// a reader may have seen later messages and not yet earlier changes. Therefore positions are
// compared part by part.
struct ChatPosition {
  std::int64_t seq = 0;
  std::int64_t event = 0;

  friend bool operator==(const ChatPosition&, const ChatPosition&) = default;
};

// Whether who is at `a` has seen all that who is at `b` has.
inline bool Covers(const ChatPosition& a, const ChatPosition& b) {
  return a.seq >= b.seq && a.event >= b.event;
}

// Both together, and what both have in common.
inline ChatPosition Max(const ChatPosition& a, const ChatPosition& b) {
  return {std::max(a.seq, b.seq), std::max(a.event, b.event)};
}
inline ChatPosition Min(const ChatPosition& a, const ChatPosition& b) {
  return {std::min(a.seq, b.seq), std::min(a.event, b.event)};
}

// One thing that happened.
struct MessageEvent {
  enum class Kind { kSent, kUpdated, kDeleted };
  Kind kind = Kind::kSent;
  std::int64_t event = 0;  // the number of the change; 0 for kSent, which message.seq numbers
  Message message;         // as it is now
};

// That a user is in a chat, and where the chat was when the user came.
struct Membership {
  std::int64_t chat_id = 0;
  std::int64_t user_id = 0;
  ChatPosition joined;
};

}  // namespace parley
