// What is a valid target of a queue, and what is made of what targets say. Pure functions: any
// thread may call them.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "base/error.h"
#include "db/model/queue_target.h"

namespace parley::scheduler {

// Adds to `violations` all that is wrong, by paths below `queue.target`.
void CheckQueueTarget(const QueueTarget& target, Violations& violations);

// Whether a task's result is small enough to be kept.
bool IsStorableResult(absl::string_view result);

// `text` as an error that can be stored: at most 1024 code points of UTF-8 without U+0000.
std::string StorableError(absl::string_view text);

}  // namespace parley::scheduler
