// What a user may do with chats, for callers who act for one user.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/session_pool.h"

namespace parley::db {

// Of so many chats, what the user is in how many.
struct RoleCounts {
  std::int64_t wanted = 0;   // chats that were named, whether they exist or not
  std::int64_t member = 0;   // whatever their role
  std::int64_t manager = 0;  // owner or admin
  std::int64_t owner = 0;
};

// Thread-safe.
class AccessRepository {
 public:
  // `pool` must outlive the repository.
  explicit AccessRepository(SessionPool& pool) : pool_(pool) {}

  // A message stands for its chat; one that does not exist, for none. Blocks at most until the
  // deadline; may return DEADLINE_EXCEEDED, UNAVAILABLE and INTERNAL.
  absl::StatusOr<RoleCounts> CountRoles(std::int64_t user_id,
                                        const std::vector<std::int64_t>& chat_ids,
                                        const std::vector<std::int64_t>& message_ids,
                                        absl::Time deadline);

 private:
  SessionPool& pool_;
};

}  // namespace parley::db
