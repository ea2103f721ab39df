// What a chat may look like. Pure functions; each adds what is wrong to `violations`.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/error.h"

namespace parley::chat {

inline constexpr std::size_t kMaxFirstMembers = 1000;

// 1..256 code points.
void CheckTitle(absl::string_view field, absl::string_view title, Violations& violations);

// 0..512 code points.
void CheckDescription(absl::string_view field, absl::string_view description,
                      Violations& violations);

// 1 minute to 100 years (36,525 days).
void CheckRetention(absl::string_view field, absl::Duration retention, Violations& violations);

// The members of a new chat: `user_ids` and the creator, each once, sorted. At most
// kMaxFirstMembers user_ids, each positive.
std::vector<std::int64_t> FirstMembers(std::int64_t creator_user_id,
                                       const std::vector<std::int64_t>& user_ids,
                                       Violations& violations);

}  // namespace parley::chat
