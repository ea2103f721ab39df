// Tasks as rows: how what task.sql returns becomes structs. For task_repository.cc.
#pragma once

#include <soci/soci.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/core/session.h"
#include "db/model/task.h"
#include "db/repository/columns.h"

namespace parley::db {

// A statement that takes whatever is there takes no more tasks at a time than weigh so much, but at
// least one: they may have 1 MiB each, which is written once more wherever they go, and a statement
// that does not get through would be tried with the same tasks for ever.
inline constexpr std::int64_t kMaxMovedBytes = std::int64_t{4} << 20;

// What is stored in text columns. Persisted: names may be added, not changed.
absl::string_view ToLabel(TaskState state);
absl::string_view ToLabel(GapPolicy policy);
absl::string_view ToLabel(FoldPolicy policy);
absl::string_view ToLabel(LocalTimeResolution resolution);
absl::string_view ToLabel(DedupePolicy policy);
// Throws soci_error for what is none.
LocalTimeResolution LocalTimeResolutionFromLabel(const std::string& label);

// What is stored in a task's columns. INTERNAL for what this version does not write.
absl::StatusOr<std::map<std::string, std::string>> HeadersFromJson(absl::string_view json);
absl::StatusOr<std::vector<TaskError>> TaskErrorsFromJson(absl::string_view json);
absl::StatusOr<TaskOptions> TaskOptionsFromJson(absl::string_view json);
absl::StatusOr<LocalTime> LocalTimeFromJson(absl::string_view json);
absl::StatusOr<RetryPolicy> RetryPolicyFromJson(absl::string_view json);
// Empty if there is nothing to be stored.
std::string TaskOptionsToJson(const TaskOptions& options);
std::string ToJson(const LocalTime& time);
std::string ToJson(const RetryPolicy& policy);

// An instant as whole seconds since 1970, rounded down, and microseconds; both null without one.
struct SplitTime {
  std::optional<std::int64_t> seconds;
  std::optional<std::int64_t> micros;
};
SplitTime Split(const std::optional<absl::Time>& time);
// For {RunAt} of a statement.
void AppendTimeBinds(const TaskTime& time, std::vector<Bind>& binds);

struct TaskRow {
  Task task;
  std::string lease_token;  // empty: none
};

struct ListedTaskRow {
  Task task;
  std::int64_t found = 0;  // rows of the page before it was cut to size
};

struct MovedTaskRow {
  std::int64_t id = 0;
  std::string queue;
  TaskState state = TaskState::kPending;
  bool limited = false;
};

struct TaskStateRow {
  TaskState state = TaskState::kPending;
};

// A task that waits for a local time.
struct LocalTimeRow {
  std::int64_t id = 0;
  std::string queue;
  std::string local_time;  // as it is stored
  absl::Time run_time;
};

struct LeaseRow {
  std::int64_t id = 0;
  std::string token;
  bool cancel_requested = false;
  absl::Duration left;
};

// A lease that has run out.
struct ExpiredLeaseRow {
  std::int64_t id = 0;
  std::string token;
  bool timed_out = false;  // the task's run timeout is over
};

// Reads the columns of a whole task. Throws soci_error if the row holds what the code does not
// know.
TaskRow ReadTaskRow(const soci::values& values);
TaskState ReadTaskState(const soci::values& values);
// A lease's token as callers know it: without dashes. Empty: none.
std::string ReadLeaseToken(const soci::values& values);

// A task, wherever it is, with the token that callers never see. NOT_FOUND.
absl::StatusOr<TaskRow> ReadTaskAndToken(Session& session, std::int64_t id);
absl::StatusOr<Task> ReadTask(Session& session, std::int64_t id);

}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::db::TaskRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::TaskRow& out) {
    out = parley::db::ReadTaskRow(row);
  }
};

template <>
struct type_conversion<parley::db::ListedTaskRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::ListedTaskRow& out) {
    out.task = parley::db::ReadTaskRow(row).task;
    out.found = row.get<long long>("found");
  }
};

template <>
struct type_conversion<parley::db::MovedTaskRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::MovedTaskRow& out) {
    out.id = row.get<long long>("id");
    out.queue = row.get<std::string>("queue");
    out.state = parley::db::ReadTaskState(row);
    out.limited = row.get<int>("limited") != 0;
  }
};

template <>
struct type_conversion<parley::db::TaskStateRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::TaskStateRow& out) {
    out.state = parley::db::ReadTaskState(row);
  }
};

template <>
struct type_conversion<parley::db::LocalTimeRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::LocalTimeRow& out) {
    out.id = row.get<long long>("id");
    out.queue = row.get<std::string>("queue");
    out.local_time = row.get<std::string>("local_time");
    out.run_time = parley::db::TimeColumn(row, "run_at");
  }
};

template <>
struct type_conversion<parley::db::LeaseRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::LeaseRow& out) {
    out.id = row.get<long long>("id");
    out.token = parley::db::ReadLeaseToken(row);
    out.cancel_requested = row.get<int>("cancel_requested") != 0;
    out.left = absl::Microseconds(row.get<long long>("left_us"));
  }
};

template <>
struct type_conversion<parley::db::ExpiredLeaseRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::ExpiredLeaseRow& out) {
    out.id = row.get<long long>("id");
    out.token = parley::db::ReadLeaseToken(row);
    out.timed_out = row.get<int>("timed_out") != 0;
  }
};

}  // namespace soci
