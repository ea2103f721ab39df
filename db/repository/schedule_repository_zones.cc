// The part of ScheduleRepository that follows changes of time zones.
#include <optional>
#include <vector>

#include "base/status_macros.h"
#include "db/core/session.h"
#include "db/core/transaction.h"
#include "db/repository/schedule_repository.h"
#include "db/repository/schedule_rows.h"
#include "db/repository/statements.h"
#include "db/repository/task_rows.h"

namespace parley::db {
namespace {

// If what this process knows of its zone says another time, that is when it fires next. Whether it
// does.
absl::StatusOr<bool> FollowZone(Session& session, const Schedule& schedule) {
  // A zone that is not known here is left to those who know it.
  const absl::StatusOr<Recurrence> recurrence = RecurrenceOf(schedule.spec);
  if (!recurrence.ok()) return false;
  const std::optional<Occurrence> next = recurrence->Next(schedule.considered_until);
  if (next && next->time == schedule.next_fire_time) return false;
  std::optional<absl::Time> next_time;
  if (next) next_time = next->time;
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> moved,
      session.QueryOptional<IdRow>(sql::task_schedule::MoveNextFiring,
                                   {{"id", schedule.id},
                                    {"considered_us", schedule.considered_until},
                                    {"next_us", next_time}}));
  return moved.has_value();
}

}  // namespace

absl::StatusOr<ScheduleRepository::ZoneBatch> ScheduleRepository::FollowZones(std::int64_t after,
                                                                              std::int32_t limit,
                                                                              absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<ZoneBatch> {
    PARLEY_ASSIGN_OR_RETURN(
        const std::vector<ScheduleTimingRow> rows,
        session.Query<ScheduleTimingRow>(sql::task_schedule::ListSchedulesByCron,
                                         {{"after", after}, {"limit", limit}}));
    ZoneBatch batch;
    for (const ScheduleTimingRow& row : rows) {
      PARLEY_ASSIGN_OR_RETURN(const bool moved, FollowZone(session, row.schedule));
      if (moved) ++batch.moved;
      batch.last_id = row.schedule.id;
    }
    return batch;
  });
}

}  // namespace parley::db
