// The part of TaskRepository that follows changes of time zones.
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/local_time.h"
#include "base/status_macros.h"
#include "db/core/session.h"
#include "db/core/transaction.h"
#include "db/repository/statements.h"
#include "db/repository/task_repository.h"
#include "db/repository/task_rows.h"

namespace parley::db {
namespace {

// What a local time means by now; nullopt: this process does not know its zone.
std::optional<ResolvedLocalTime> ResolveAnew(const LocalTime& local_time) {
  LocalTime lenient = local_time;
  if (lenient.gap_policy == GapPolicy::kReject) lenient.gap_policy = GapPolicy::kShift;
  if (lenient.fold_policy == FoldPolicy::kReject) lenient.fold_policy = FoldPolicy::kFirst;
  Violations violations;
  std::optional<ResolvedLocalTime> resolved = ResolveLocalTime(lenient, "UTC", violations);
  if (resolved) {
    resolved->local_time.gap_policy = local_time.gap_policy;
    resolved->local_time.fold_policy = local_time.fold_policy;
  }
  return resolved;
}

// Whether it has moved.
absl::StatusOr<bool> FollowZone(Session& session, const LocalTimeRow& row) {
  const absl::StatusOr<LocalTime> local_time = LocalTimeFromJson(row.local_time);
  if (!local_time.ok()) return false;  // a later version wrote it, and will follow it
  const std::optional<ResolvedLocalTime> resolved = ResolveAnew(*local_time);
  if (!resolved || resolved->instant == row.run_time) return false;
  std::vector<Bind> binds = {{"id", row.id},
                             {"old_local_time", row.local_time},
                             {"local_time", ToJson(resolved->local_time)}};
  AppendTimeBinds({.run_time = resolved->instant}, binds);
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> moved,
      session.QueryOptional<IdRow>(sql::task::MoveToLocalTime, std::move(binds)));
  return moved.has_value();
}

}  // namespace

absl::StatusOr<TaskRepository::ZoneBatch> TaskRepository::FollowZones(std::int64_t after,
                                                                      std::int32_t limit,
                                                                      absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<ZoneBatch> {
    PARLEY_ASSIGN_OR_RETURN(const std::vector<LocalTimeRow> rows,
                            session.Query<LocalTimeRow>(sql::task::ListLocalTimes,
                                                        {{"after", after}, {"limit", limit}}));
    ZoneBatch batch;
    std::set<std::string> queues;
    for (const LocalTimeRow& row : rows) {
      PARLEY_ASSIGN_OR_RETURN(const bool moved, FollowZone(session, row));
      if (moved) {
        ++batch.moved;
        queues.insert(row.queue);
      }
      batch.last_id = row.id;
    }
    batch.queues.assign(queues.begin(), queues.end());
    return batch;
  });
}

}  // namespace parley::db
