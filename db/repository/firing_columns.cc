#include "db/repository/firing_columns.h"

#include "db/repository/statements.h"

namespace parley::db {

void FiringColumns::Add(const Firing& firing) {
  schedule_ids_.push_back(firing.schedule_id);
  fire_us_.push_back(absl::ToUnixMicros(firing.fire_time));
  delay_us_.push_back(absl::ToInt64Microseconds(firing.delay));
  task_ids_.push_back(firing.task_id);
}

absl::StatusOr<std::vector<FiredRow>> FiringColumns::Insert(Session& session) const {
  if (schedule_ids_.empty()) return std::vector<FiredRow>();
  return session.Query<FiredRow>(sql::task_schedule::InsertFirings,
                                 {{"schedule_ids", ArrayLiteral(schedule_ids_)},
                                  {"fire_us", ArrayLiteral(fire_us_)},
                                  {"delay_us", ArrayLiteral(delay_us_)},
                                  {"task_ids", ArrayLiteral(task_ids_)}});
}

}  // namespace parley::db
