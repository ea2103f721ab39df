// Users, as stored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"

namespace parley {

enum class UserStatus { kActive, kBlocked };

struct User {
  std::int64_t id = 0;
  std::string login;
  std::optional<std::string> name;
  UserStatus status = UserStatus::kActive;
  absl::Time create_time;
  absl::Time update_time;
  std::int64_t version = 0;  // one more with every change; the etag
};

}  // namespace parley
