// Workers that do nothing, as fast as they can.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace parley::bench {

struct WorkOptions {
  std::string target;  // host:port of a schedulerd
  std::string queue;
  int streams = 2;              // Work streams, each on a connection of its own
  std::int32_t credit = 1000;   // of each stream; what is leased is acked at once, and granted anew
  std::int64_t tasks = 100000;  // how many to do
};

struct WorkReport {
  std::int64_t tasks = 0;   // that were settled
  absl::Duration seconds;   // from the first stream's begin to the last answer
  std::int64_t frames = 0;  // that came from the server
};

// Acks every task that is leased until so many are settled. Any error of a stream, or of a task.
absl::StatusOr<WorkReport> RunWork(const WorkOptions& options);

}  // namespace parley::bench
