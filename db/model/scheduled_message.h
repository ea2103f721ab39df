// Messages to be sent later, as stored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "base/local_time.h"

namespace parley {

// The queue of the tasks that send them.
inline constexpr char kScheduledMessagesQueue[] = "parley.scheduled-messages";

// from        event                              to
// kScheduled  its message is written             kSent
// kScheduled  cancelled, its task pending        kCancelled
// kScheduled  refused when its time came         kFailed
// A kScheduled one whose task is dead is shown as kFailed, one whose task is cancelled as
// kCancelled.
enum class ScheduledMessageState { kScheduled, kSent, kCancelled, kFailed };

struct ScheduledMessage {
  std::int64_t id = 0;
  std::int64_t chat_id = 0;
  std::int64_t user_id = 0;
  std::string text;               // empty when sent or cancelled
  std::int64_t reply_to_seq = 0;  // 0: none
  absl::Time run_time;
  std::optional<LocalTimeResolution> resolution;  // absent: no local time was given
  ScheduledMessageState state = ScheduledMessageState::kScheduled;
  std::int64_t task_id = 0;
  std::int64_t seq = 0;        // of the message; 0 unless sent
  std::string failure_reason;  // when failed
  absl::Time create_time;
  absl::Time update_time;
};

}  // namespace parley
