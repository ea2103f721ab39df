// Creates tasks, as writes of the hot lane.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/dsn.h"
#include "db/core/merge_lane.h"
#include "db/model/task.h"

namespace parley::db {

// One task to be created, and the request that does it.
struct CreateTaskParams {
  NewTask task;
  std::string request_id;   // empty: not remembered
  std::string fingerprint;  // of the content
};

// Where a request led.
struct CreatedTask {
  std::int64_t id = 0;
  bool is_new = true;  // false: the request came before, and created this task then
  // Of a new one.
  absl::Time run_time;
  absl::Time create_time;
  std::int32_t max_attempts = 0;
};

// Many callers' tasks share a commit. Thread-safe.
class TaskCreator {
 public:
  struct Options {
    std::size_t queue = 1000;  // how many may wait; one with a large payload counts as several
  };
  TaskCreator(Dsn dsn, const Options& options);

  using Outcomes = std::vector<absl::StatusOr<CreatedTask>>;  // as many as tasks, in their order
  // Creates tasks, PENDING, with one commit. Arguments are taken as valid. `done` is called once,
  // on a thread of the lane's, and must not block; `is_abandoned` (null: never) tells whether the
  // caller has left, on the same thread.
  // ALREADY_EXISTS, reason REQUEST_ID_REUSED: the request came before with other content; the
  // others are created. For all: RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, UNAVAILABLE, ABORTED
  // (CONTENTION). COMMIT_IN_DOUBT: those with a request id are sent again and settled, or else
  // UNAVAILABLE; the others are UNKNOWN.
  void Create(std::vector<CreateTaskParams> tasks, absl::Time deadline,
              std::function<void(Outcomes)> done, std::function<bool()> is_abandoned = nullptr);

  LaneView lane() { return lane_.view(); }

 private:
  MergeLane lane_;
};

}  // namespace parley::db
