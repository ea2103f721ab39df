#include "services/jobs/database_metrics.h"

#include <cmath>
#include <utility>

#include "base/clock.h"

namespace parley::jobs {
namespace {

constexpr absl::Duration kReadInterval = absl::Seconds(15);
constexpr absl::Duration kPatience = absl::Seconds(1);

double Unknown() { return std::nan(""); }

}  // namespace

void AddPool(runtime::Metrics& metrics, db::SessionPool& pool) {
  metrics.AddGauge({"parley_session_pool_size", "Database connections at most."},
                   [&pool] { return static_cast<double>(pool.load().size); });
  metrics.AddGauge({"parley_session_pool_in_use", "Of these, those that are lent."},
                   [&pool] { return static_cast<double>(pool.load().in_use); });
  metrics.AddGauge({"parley_session_pool_waiting", "Who waits for a connection."},
                   [&pool] { return static_cast<double>(pool.load().waiting); });
  metrics.AddCounter(
      {"parley_session_pool_failed_connects_total", "Connections that could not be opened."},
      [&pool] { return static_cast<double>(pool.load().failed_connects); });
  metrics.AddHistogram(
      {"parley_session_pool_wait_seconds", "How long others were waited for, each time."},
      pool.wait_seconds());
}

void AddLane(runtime::Metrics& metrics, const std::string& name, const db::LaneView& lane) {
  metrics.AddHistogram(
      {"parley_lane_batch_size", "Rows, or reads, that went together.", {{"lane", name}}},
      lane.batch_sizes);
  metrics.AddGauge(
      {"parley_lane_waiting", "Rows, or reads, that wait to be sent.", {{"lane", name}}},
      lane.waiting);
}

DatabaseProbe::DatabaseProbe(db::SessionPool& pool, Options options)
    : pool_(pool),
      options_(std::move(options)),
      statistics_(pool),
      numbers_{.tables = {}, .oldest_xmin = Unknown(), .oldest_due_seconds = Unknown()} {}

absl::Status DatabaseProbe::Ask() {
  const absl::Time now = SteadyNow();
  absl::Status there = pool_.Ping(now + kPatience);
  // Only then: a statement that is slow is no reason to turn callers away.
  if (now >= read_at_ || !there.ok()) {
    Numbers numbers = there.ok() ? Read() : Numbers{{}, Unknown(), Unknown()};
    read_at_ = there.ok() ? now + kReadInterval : absl::InfinitePast();
    MutexLock lock(mutex_);
    numbers_ = std::move(numbers);
  }
  return there;
}

DatabaseProbe::Numbers DatabaseProbe::Read() {
  Numbers numbers{.tables = {}, .oldest_xmin = Unknown(), .oldest_due_seconds = Unknown()};
  const auto tables = statistics_.GetTableRows(options_.tables, SteadyNow() + kPatience);
  if (tables.ok()) {
    for (const auto& rows : *tables) numbers.tables[rows.table] = rows;
  }
  if (const auto xmin = statistics_.GetOldestXmin(SteadyNow() + kPatience); xmin.ok()) {
    numbers.oldest_xmin = static_cast<double>(*xmin);
  }
  if (!options_.watches_tasks) return numbers;
  if (const auto due = statistics_.GetOldestDueTask(SteadyNow() + kPatience); due.ok()) {
    numbers.oldest_due_seconds = absl::ToDoubleSeconds(*due);
  }
  return numbers;
}

void DatabaseProbe::AddTo(runtime::Metrics& metrics) {
  using Rows = db::StatisticsRepository::TableRows;
  const auto reader = [this](const std::string& table, std::int64_t Rows::*count) {
    return [this, table, count] {
      MutexLock lock(mutex_);
      const auto found = numbers_.tables.find(table);
      return found == numbers_.tables.end() ? Unknown() : static_cast<double>(found->second.*count);
    };
  };
  for (const std::string& table : options_.tables) {
    metrics.AddGauge(
        {"parley_table_live_rows", "Rows, as PostgreSQL estimates.", {{"table", table}}},
        reader(table, &Rows::live));
    metrics.AddGauge(
        {"parley_table_dead_rows",
         "Old versions of rows that vacuum has not removed yet, as PostgreSQL estimates.",
         {{"table", table}}},
        reader(table, &Rows::dead));
  }
  metrics.AddGauge({"parley_database_oldest_xmin_age_transactions",
                    "How far back lies what vacuum may not remove yet."},
                   [this] {
                     MutexLock lock(mutex_);
                     return numbers_.oldest_xmin;
                   });
  if (!options_.watches_tasks) return;
  metrics.AddGauge({"parley_oldest_due_task_age_seconds",
                    "For how long the first task of a queue that is not paused has been due."},
                   [this] {
                     MutexLock lock(mutex_);
                     return numbers_.oldest_due_seconds;
                   });
}

}  // namespace parley::jobs
