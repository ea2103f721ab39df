// What a user may look like; logins are base/login.h's affair. Pure functions; each adds what is
// wrong to `violations`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/error.h"

namespace parley::chat {

inline constexpr std::size_t kMaxPasswordBytes = 1024;
inline constexpr std::size_t kMaxBatch = 100;

enum class PasswordUse { kMaySet, kMustGive };

// Ids are positive.
void CheckId(absl::string_view field, std::int64_t id, Violations& violations);

// 1..kMaxBatch ids, each positive.
void CheckIds(absl::string_view field, const std::vector<std::int64_t>& ids,
              Violations& violations);

// 0..256 code points.
void CheckUserName(absl::string_view field, absl::string_view name, Violations& violations);

// At most kMaxPasswordBytes; kMustGive: at least one.
void CheckPassword(absl::string_view password, PasswordUse use, Violations& violations);

// Whether `text` is a number of wrong passwords that may be allowed: 0 to 1000000.
bool IsFailureLimit(const std::string& text);

}  // namespace parley::chat
