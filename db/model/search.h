// Where a page of found messages ends.
#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace parley {

enum class SearchOrder { kNewest, kRelevance };

// A found message's place in the order of its search.
struct SearchPosition {
  float rank = 0;  // 0 where the order is by time
  absl::Time create_time;
  std::int64_t chat_id = 0;
  std::int64_t seq = 0;
};

}  // namespace parley
