// The removal of everything that a user has said, as stored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"

namespace parley {

// The queue of the tasks that do it.
inline constexpr char kEraseUserQueue[] = "parley.erase-user";

struct Erasure {
  std::int64_t user_id = 0;
  std::int64_t messages_erased = 0;
  std::int64_t messages_remaining = 0;
  absl::Time create_time;
  std::optional<absl::Time> finish_time;  // absent: it goes on
  std::int64_t task_id = 0;
  std::string last_error;  // the name of an error; empty: none, or it is done
};

}  // namespace parley
