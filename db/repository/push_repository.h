// What pushers ask about queues and their tasks.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/core/session_pool.h"
#include "db/model/queue_target.h"
#include "db/model/task.h"

namespace parley::db {

// A queue whose tasks are pushed.
struct PushQueue {
  std::string name;
  QueueTarget target;
};

// A queue, and a place to which its tasks are handed over, now or before its target was changed.
struct HandoffPlace {
  std::string queue;
  std::string token_prefix;  // kPlaceTokenPrefixSize digits, with which the leases' tokens begin

  bool operator==(const HandoffPlace&) const = default;
  bool operator<(const HandoffPlace& other) const {
    return std::tie(queue, token_prefix) < std::tie(other.queue, other.token_prefix);
  }
};

// A RUNNING task under a pusher's lease.
struct PushedTask {
  LeaseKey lease;
  absl::Time create_time;
  // Whether it has an expire_time that, by the database's clock, was still to come when it was
  // read.
  bool may_expire = false;
  bool cancel_requested = false;
  absl::Duration age;  // since it was claimed, or asked to be cancelled
  // Of its lease; infinite if that ends with the task's run timeout.
  absl::Duration left = absl::InfiniteDuration();
};

// Thread-safe. Every call blocks at most until its `deadline`, and may return DEADLINE_EXCEEDED,
// UNAVAILABLE, ABORTED (reason CONTENTION) and INTERNAL.
class PushRepository {
 public:
  // `pool` must outlive the repository.
  explicit PushRepository(SessionPool& pool) : pool_(pool) {}

  // All there are. One whose target this version does not understand is left out.
  absl::StatusOr<std::vector<PushQueue>> ListQueues(absl::Time deadline);

  // All places that tasks were claimed for and that have not ended, whichever process has done so.
  absl::StatusOr<std::vector<HandoffPlace>> ListPlaces(absl::Time deadline);

  // All tasks of a place, whichever process has claimed them.
  absl::StatusOr<std::vector<PushedTask>> ListTasks(const HandoffPlace& place, absl::Time deadline);

 private:
  SessionPool& pool_;
};

}  // namespace parley::db
