// What the database says of itself, for whoever watches it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/session_pool.h"

namespace parley::db {

// Thread-safe. Every call blocks until `deadline` at most, and may end with UNAVAILABLE or
// DEADLINE_EXCEEDED.
class StatisticsRepository {
 public:
  explicit StatisticsRepository(SessionPool& pool) : pool_(pool) {}

  struct TableRows {
    std::string table;
    std::int64_t live = 0;
    std::int64_t dead = 0;  // old versions that vacuum has not removed yet
  };
  // By PostgreSQL's own count, which lags and is not exact. Those of `tables` that exist, by name.
  absl::StatusOr<std::vector<TableRows>> GetTableRows(const std::vector<std::string>& tables,
                                                      absl::Time deadline);

  // In transactions, how far back lies what vacuum may not remove yet, as far as the role may see.
  absl::StatusOr<std::int64_t> GetOldestXmin(absl::Time deadline);

  // For how long the task that has waited longest has been due; nothing if none is. What a queue's
  // pause or a limit by key holds back is not counted.
  absl::StatusOr<absl::Duration> GetOldestDueTask(absl::Time deadline);

 private:
  SessionPool& pool_;
};

}  // namespace parley::db
