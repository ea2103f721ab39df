// Users and chats for tests that need some.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "db/repository/chat_repository.h"
#include "db/repository/user_repository.h"

namespace parley::testing {

inline absl::Time Soon() { return absl::Now() + absl::Seconds(30); }

// A new user with this login.
inline std::int64_t NewUser(db::SessionPool& pool, const std::string& login) {
  db::UserRepository users(pool);
  return users.Create({.login = login, .login_key = login}, Soon()).value().id;
}

// A new chat of these users; the first is its creator.
inline std::int64_t NewChat(db::SessionPool& pool, const std::vector<std::int64_t>& users) {
  db::ChatRepository chats(pool);
  return chats
      .Create({.creator_user_id = users.front(),
               .title = "chat",
               .chat_type = ChatType::kGroup,
               .user_ids = users},
              Soon())
      .value()
      .id;
}

}  // namespace parley::testing
