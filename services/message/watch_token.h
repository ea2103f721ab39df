// Resume tokens: where a watch is in each of its chats.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "db/model/message_event.h"

namespace parley::message {

// By chat id. At most kMaxWatchedChats.
using WatchPositions = std::map<std::int64_t, ChatPosition>;
inline constexpr std::size_t kMaxWatchedChats = 10'000;

// A URL-safe token with the positions, some bytes a chat, and a digest of them and of whose they
// are: a user's, or, with user_id 0, those of chats. The digest tells tampering and mix-ups; a
// token gives no right to anything.
std::string EncodeResumeToken(std::int64_t user_id, const WatchPositions& positions);

// The positions. INVALID_ARGUMENT, field resume_token, if the token is not one that
// EncodeResumeToken made for the same user, or for chats.
absl::StatusOr<WatchPositions> DecodeResumeToken(std::int64_t user_id, absl::string_view token);

}  // namespace parley::message
