// What the lanes have in common: how they refuse.
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/error.h"

namespace parley::db {

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
