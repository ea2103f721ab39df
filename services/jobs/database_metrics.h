// What is exported of the way to the database, and of the database itself.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "db/core/lane.h"
#include "db/core/session_pool.h"
#include "db/repository/statistics_repository.h"
#include "services/runtime/metrics.h"

namespace parley::jobs {

// Adds parley_session_pool_*.
void AddPool(runtime::Metrics& metrics, db::SessionPool& pool);

// Adds parley_lane_*, with `name` as the label "lane".
void AddLane(runtime::Metrics& metrics, const std::string& name, const db::LaneView& lane);

// Asks the database for the host: whether it is there, and now and then how it is.
class DatabaseProbe {
 public:
  struct Options {
    std::vector<std::string> tables;  // whose dead rows are counted
    bool watches_tasks = false;       // whether to look for how long tasks have been due
  };
  DatabaseProbe(db::SessionPool& pool, Options options);

  // OK if the database answers. By one thread at a time; blocks for a second at most, or for three
  // every quarter of a minute, when it also reads what AddTo shows.
  absl::Status Ask() ABSL_LOCKS_EXCLUDED(mutex_);

  // Adds parley_table_*_rows, parley_database_oldest_xmin_age_transactions and, if tasks are
  // watched, parley_oldest_due_task_age_seconds: as they were when they were read last, NaN if that
  // failed.
  void AddTo(runtime::Metrics& metrics);

 private:
  struct Numbers {
    std::map<std::string, db::StatisticsRepository::TableRows> tables;
    double oldest_xmin;
    double oldest_due_seconds;
  };

  Numbers Read();

  db::SessionPool& pool_;
  const Options options_;
  db::StatisticsRepository statistics_;
  absl::Time read_at_ = absl::InfinitePast();  // of the thread that asks: no earlier
  Mutex mutex_;
  Numbers numbers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::jobs
