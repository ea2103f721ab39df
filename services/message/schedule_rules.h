// What may be scheduled, and how a scheduled message fails. Pure functions.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "base/error.h"

namespace parley::message {

// A seq, or 0 for none.
void CheckReplyToSeq(std::int64_t reply_to_seq, Violations& violations);

// Whether trying again may help after sending has failed so. What is refused for good ends the
// scheduled message.
bool IsWorthRetrying(const absl::Status& status);

}  // namespace parley::message
