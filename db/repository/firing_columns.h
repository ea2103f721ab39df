// Firings as the columns of the statement that gives them their tasks.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/session.h"
#include "db/repository/schedule_rows.h"

namespace parley::db {

// Belongs to one thread.
class FiringColumns {
 public:
  struct Firing {
    std::int64_t schedule_id = 0;
    absl::Time fire_time;
    absl::Duration delay;      // of the task
    std::int64_t task_id = 0;  // 0: the next one
  };
  void Add(const Firing& firing);

  // Whoever inserts holds the locks of the schedules. The tasks that were made: a firing that has
  // one, live or dead, gets no other.
  absl::StatusOr<std::vector<FiredRow>> Insert(Session& session) const;

 private:
  std::vector<std::int64_t> schedule_ids_;
  std::vector<std::int64_t> fire_us_;
  std::vector<std::int64_t> delay_us_;
  std::vector<std::int64_t> task_ids_;
};

}  // namespace parley::db
