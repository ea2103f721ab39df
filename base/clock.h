// The clock that timers and deadlines go by.
#pragma once

#include "absl/time/time.h"

namespace parley {

// What the wall clock said when the process began, and what has passed since. Whoever sets the
// host's clock, by an hour or by a leap second, neither hastens nor holds up anything that waits.
// Not what time it is: that is for the log, and what is due is a matter of the database's clock.
// Any thread.
absl::Time SteadyNow();

}  // namespace parley
