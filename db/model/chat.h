// Chats and memberships, as stored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "db/model/user.h"

namespace parley {

enum class ChatType { kPrivate, kGroup, kChannel };
enum class ChatRole { kOwner, kAdmin, kMember };

struct Chat {
  std::int64_t id = 0;
  std::string title;
  std::optional<std::string> description;
  ChatType chat_type = ChatType::kPrivate;
  std::int64_t creator_user_id = 0;
  std::int32_t user_count = 0;
  std::optional<absl::Duration> retention;  // of messages; absent: for ever
  absl::Time create_time;
  absl::Time update_time;
  std::int64_t version = 0;  // one more with every change; the etag
  std::vector<User> users;   // the first kMaxChatUsers members by id
};

// How many members a Chat carries along.
inline constexpr std::int32_t kMaxChatUsers = 100;

struct ChatMember {
  ChatRole role = ChatRole::kMember;
  absl::Time join_time;
  User user;
};

}  // namespace parley
