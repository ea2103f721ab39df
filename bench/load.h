// Drives a server and measures it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "bench/report.h"
#include "bench/workload.h"

namespace parley::bench {

struct LoadOptions {
  std::string target;
  std::string scenario;  // for the report
  int in_flight = 64;    // calls at a time; at a fixed rate: at most
  int channels = 2;      // connections that share them
  absl::Duration warm_up = absl::Seconds(1);
  absl::Duration duration = absl::Seconds(5);  // after the warm-up
  // 0: a closed loop, each answer is followed by the next call. Else calls a second, evenly spaced,
  // and a call's time counts from the instant at which it was due, whether or not it could be made
  // then: a server that stalls is charged for all the calls that had to wait.
  double rate = 0;
  std::int64_t count = 0;  // stop after so many calls, with everything measured; 0: by time
};

// Runs it; a line of progress a second goes to standard error, and the first error of each kind.
// One thread takes all answers; at a fixed rate another one makes the calls. Unavailable: nobody
// accepts connections at the target within ten seconds.
absl::StatusOr<Report> RunLoad(const LoadOptions& options, const Workload& workload);

}  // namespace parley::bench
