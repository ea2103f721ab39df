// Schedules as rows: how what task_schedule.sql returns becomes structs, and the other way round.
#pragma once

#include <soci/soci.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/session.h"
#include "db/model/schedule.h"

namespace parley::db {

// A schedule, and the database's clock when it was read.
struct ScheduleRow {
  Schedule schedule;
  absl::Time now;
};

// The same with what says when and how it fires, and nothing else.
struct ScheduleTimingRow {
  Schedule schedule;
  absl::Time now;
};

// One that fires, and about how much a task of it weighs.
struct DueScheduleRow {
  Schedule schedule;
  absl::Time now;
  std::int64_t task_bytes = 0;
};

struct ListedScheduleRow {
  Schedule schedule;
  std::int64_t found = 0;  // rows of the page before it was cut to size
};

// A task that a firing has got.
struct FiredRow {
  std::int64_t task_id = 0;
  std::int64_t schedule_id = 0;
  std::string queue;
  absl::Duration due_in;
};

struct NextFiringRow {
  std::optional<absl::Duration> due_in;
  bool buffering = false;
};

// Both throw soci_error if the row holds what the code does not know.
Schedule ReadSchedule(const soci::values& values);
Schedule ReadScheduleTiming(const soci::values& values);
NextFiringRow ReadNextFiring(const soci::values& values);

// NOT_FOUND, reason SCHEDULE_NOT_FOUND.
absl::Status ScheduleNotFound(std::int64_t id);
// The row, locked until the end of the transaction. NOT_FOUND.
absl::StatusOr<ScheduleRow> LockSchedule(Session& session, std::int64_t id);

// Of what its owner says. `spec` has its anchor.
std::vector<Bind> SettingsBinds(const ScheduleSettings& settings);

}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::db::ScheduleRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::ScheduleRow& out) {
    out.schedule = parley::db::ReadSchedule(row);
    out.now = absl::FromUnixMicros(row.get<long long>("now"));
  }
};

template <>
struct type_conversion<parley::db::ScheduleTimingRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/,
                        parley::db::ScheduleTimingRow& out) {
    out.schedule = parley::db::ReadScheduleTiming(row);
    out.now = absl::FromUnixMicros(row.get<long long>("now"));
  }
};

template <>
struct type_conversion<parley::db::DueScheduleRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::DueScheduleRow& out) {
    out.schedule = parley::db::ReadScheduleTiming(row);
    out.now = absl::FromUnixMicros(row.get<long long>("now"));
    out.task_bytes = row.get<long long>("task_bytes");
  }
};

template <>
struct type_conversion<parley::db::ListedScheduleRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/,
                        parley::db::ListedScheduleRow& out) {
    out.schedule = parley::db::ReadSchedule(row);
    out.found = row.get<long long>("found");
  }
};

template <>
struct type_conversion<parley::db::FiredRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::FiredRow& out) {
    out.task_id = row.get<long long>("id");
    out.schedule_id = row.get<long long>("schedule_id");
    out.queue = row.get<std::string>("queue");
    out.due_in = absl::Microseconds(row.get<long long>("due_in"));
  }
};

template <>
struct type_conversion<parley::db::NextFiringRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::NextFiringRow& out) {
    out = parley::db::ReadNextFiring(row);
  }
};

}  // namespace soci
