// Puts tasks into a queue.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace parley::bench {

struct FillOptions {
  std::string target;  // host:port of a schedulerd
  std::string queue;
  std::int64_t tasks = 100000;
  // When they are due: at random instants in the `over` that begins `from` from now; at once if
  // both are zero.
  absl::Duration from, over;
};

// Creates them, 1,000 a call. FailedPrecondition: the first was due before the last was there.
absl::Status Fill(const FillOptions& options);

}  // namespace parley::bench
