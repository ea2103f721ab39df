// What is a valid queue. Pure functions: any thread may call them. Every check adds to `violations`
// all that is wrong, by field path.
#pragma once

#include "absl/strings/string_view.h"
#include "base/error.h"
#include "db/model/queue.h"

namespace parley::scheduler {

void CheckQueue(absl::string_view field, absl::string_view queue, Violations& violations);
// A queue that callers may put tasks into, take them from, or change.
void CheckOpenQueue(absl::string_view field, absl::string_view queue, Violations& violations);

// Checks settings, fields of `queue`, and makes them ready: a burst that is not said gets its
// default.
void PrepareQueueSettings(QueueSettings& settings, Violations& violations);

// What PauseQueue and PauseSchedule take.
void CheckPauseNote(absl::string_view note, Violations& violations);

}  // namespace parley::scheduler
