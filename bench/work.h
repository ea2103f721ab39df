// What the load program measures as a worker.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "bench/report.h"

namespace parley::bench {

struct WorkOptions {
  std::string target;  // host:port of a schedulerd
  std::string queue;
  int streams = 2;              // Work streams, each on a connection of its own
  std::int32_t credit = 1000;   // of each stream
  std::int64_t tasks = 100000;  // how many to do
};

// Acks every task that is leased until so many are settled, durably: how long that took from the
// first stream's begin to the last answer, and of each task how late a worker got it. Any error of
// a stream, or of a task.
absl::StatusOr<Report> RunWork(const WorkOptions& options);

struct HandoffOptions {
  std::string target;
  std::string queue;
  std::int64_t tasks = 1000;   // one after the other
  std::int64_t warm_up = 100;  // tasks before those
  // Before each, so that the service is idle.
  absl::Duration pause = absl::Milliseconds(2);
};

// How long it takes from calling CreateTask, for a task that is due at once, until a worker who
// waits for it has it in hand. Any error.
absl::StatusOr<Report> RunHandoff(const HandoffOptions& options);

}  // namespace parley::bench
