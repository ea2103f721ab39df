// Ends tasks as succeeded, as writes of the hot lane.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/core/dsn.h"
#include "db/core/merge_lane.h"

namespace parley::db {

// A task that its worker has done.
struct TaskAck {
  std::int64_t task_id = 0;
  std::string token;   // of the lease
  std::string result;  // bytes
};

// Many callers' acks share a commit. Thread-safe.
class TaskAcker {
 public:
  struct Options {
    std::size_t queue = 20'000;  // how many may wait; one with a large result counts as several
    // Both are called on a thread of the lane's, before who has acked is told, and must not block.
    // These tasks have ended, committed.
    std::function<void(const std::vector<std::int64_t>& ids)> on_ended = [](const auto&) {};
    // Tasks of this queue, which limits what runs, have ended: others may run in their place.
    std::function<void(absl::string_view queue)> on_room = [](absl::string_view) {};
  };
  TaskAcker(Dsn dsn, const Options& options);

  // RUNNING -> SUCCEEDED. Tells for each, in their order, whether the lease was its task's; if not,
  // nothing has changed (the same ack may have come before). `done` is called once, on a thread of
  // the lane's, and must not block.
  // RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, UNAVAILABLE (perhaps in doubt: to be sent again),
  // ABORTED (CONTENTION).
  void Ack(std::vector<TaskAck> acks, absl::Time deadline,
           std::function<void(absl::StatusOr<std::vector<bool>>)> done);

  LaneView lane() { return lane_.view(); }

 private:
  MergeLane lane_;
};

}  // namespace parley::db
