// What the lanes have in common: how they refuse, and how they are watched.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "base/histogram.h"

namespace parley::db {

// What a lane shows of itself; valid for as long as it lives. Any thread may look.
struct LaneView {
  const Histogram& batch_sizes;     // rows, or reads, that went to the server together
  std::function<double()> waiting;  // how many wait to be sent
};

// Powers of two: a batch of one, too, is worth knowing of.
inline std::vector<double> BatchSizeBounds() { return {1, 2, 4, 8, 16, 32, 64, 128, 256, 512}; }

// RESOURCE_EXHAUSTED, reason QUEUE_FULL, with a delay to wait.
inline absl::Status LaneFull() {
  return WithRetryDelay(Error(absl::StatusCode::kResourceExhausted, reason::kQueueFull,
                              "too many calls wait for the database"),
                        absl::Milliseconds(100));
}

// DEADLINE_EXCEEDED for what was not even sent.
inline absl::Status DeadlinePassed() {
  return Error(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded,
               "the deadline passed before the database was asked");
}

}  // namespace parley::db
