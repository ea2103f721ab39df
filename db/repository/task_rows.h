// Tasks as rows: how what task.sql returns becomes structs. For task_repository.cc.
#pragma once

#include <soci/soci.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/model/task.h"

namespace parley::db {

// What is stored in text columns. Persisted: names may be added, not changed.
absl::string_view ToLabel(TaskState state);
absl::string_view ToLabel(GapPolicy policy);
absl::string_view ToLabel(FoldPolicy policy);
absl::string_view ToLabel(LocalTimeResolution resolution);
// Throws soci_error for what is none.
LocalTimeResolution LocalTimeResolutionFromLabel(const std::string& label);

struct TaskRow {
  Task task;
  std::string lease_token;  // empty: none
};

struct ListedTaskRow {
  Task task;
  std::int64_t found = 0;  // rows of the page before it was cut to size
};

struct RescuedTaskRow {
  std::string queue;
  TaskState state = TaskState::kPending;
};

struct NextDueRow {
  std::string queue;
  absl::Duration due_in;  // by the database's clock; negative: it is due
};

// Reads the columns of a whole task. Throws soci_error if the row holds what the code does not
// know.
TaskRow ReadTaskRow(const soci::values& values);
TaskState ReadTaskState(const soci::values& values);

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
struct type_conversion<parley::db::RescuedTaskRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::RescuedTaskRow& out) {
    out.queue = row.get<std::string>("queue");
    out.state = parley::db::ReadTaskState(row);
  }
};

template <>
struct type_conversion<parley::db::NextDueRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::NextDueRow& out) {
    out.queue = row.get<std::string>("queue");
    out.due_in = absl::Microseconds(row.get<long long>("due_in"));
  }
};

}  // namespace soci
