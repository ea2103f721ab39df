// How queues come out of SQL: the columns of {ShownQueue} in sql/fragments.sql, and those of
// GetQueueStats.
#pragma once

#include <soci/soci.h>

#include <optional>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "db/model/queue.h"
#include "db/repository/columns.h"
#include "db/repository/queue_target_json.h"
#include "db/repository/task_rows.h"

namespace parley::db {

// A queue that has a row or only counters.
struct ListedQueueRow {
  Queue queue;
};

inline Queue QueueFromRow(const soci::values& row) {
  Queue queue;
  queue.name = row.get<std::string>("name");
  queue.settings.max_attempts = row.get<int>("max_attempts");
  absl::StatusOr<RetryPolicy> retry = RetryPolicyFromJson(row.get<std::string>("retry"));
  if (!retry.ok()) throw soci::soci_error(std::string(retry.status().message()));
  queue.settings.retry = *std::move(retry);
  queue.settings.max_running = row.get<int>("max_running");
  queue.settings.max_running_per_key = row.get<int>("max_running_per_key");
  if (row.get_indicator("rate") != soci::i_null) {
    queue.settings.rate_limit = {.rate = row.get<double>("rate"), .burst = row.get<int>("burst")};
  }
  if (const auto json = OptionalTextColumn(row, "target")) {
    absl::StatusOr<QueueTarget> target = QueueTargetFromJson(*json);
    if (!target.ok()) throw soci::soci_error(std::string(target.status().message()));
    queue.settings.target = *std::move(target);
  }
  queue.pause_time = OptionalTimeColumn(row, "pause_us");
  queue.pause_note = row.get<std::string>("pause_note");
  queue.version = row.get<long long>("version");
  queue.create_time = TimeColumn(row, "create_us");
  queue.update_time = TimeColumn(row, "update_us");
  return queue;
}

inline QueueStats QueueStatsFromRow(const soci::values& row) {
  QueueStats stats;
  stats.pending = row.get<long long>("pending");
  stats.running = row.get<long long>("running");
  stats.dead = row.get<long long>("dead");
  stats.created = row.get<long long>("created");
  stats.succeeded = row.get<long long>("succeeded");
  stats.cancelled = row.get<long long>("cancelled");
  stats.expired = row.get<long long>("expired");
  stats.died = row.get<long long>("died");
  stats.retried = row.get<long long>("retried");
  stats.oldest_due_time = OptionalTimeColumn(row, "oldest_due_us");
  stats.next_due_time = OptionalTimeColumn(row, "next_due_us");
  stats.pause_time = OptionalTimeColumn(row, "pause_us");
  return stats;
}

}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::Queue> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::Queue& out) {
    out = parley::db::QueueFromRow(row);
  }
};

template <>
struct type_conversion<parley::db::ListedQueueRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::ListedQueueRow& out) {
    out.queue = parley::Queue();
    if (row.get_indicator("name") == i_null) {
      out.queue.name = row.get<std::string>("listed_name");
    } else {
      out.queue = parley::db::QueueFromRow(row);
    }
  }
};

template <>
struct type_conversion<parley::QueueStats> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::QueueStats& out) {
    out = parley::db::QueueStatsFromRow(row);
  }
};

}  // namespace soci
