#include "services/scheduler/zone_follower.h"

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "services/runtime/log.h"

namespace parley::scheduler {
namespace {

constexpr std::int32_t kBatchOfZoned = 500;
constexpr absl::Duration kBatchPatience = absl::Seconds(10);

absl::Time BatchDeadline() { return absl::Now() + kBatchPatience; }

}  // namespace

absl::Status FollowZones(db::TaskRepository& tasks, db::ScheduleRepository& schedules,
                         Dispatcher& dispatcher) {
  std::int64_t moved_tasks = 0;
  std::int64_t moved_schedules = 0;
  db::TaskRepository::ZoneBatch batch;
  do {
    PARLEY_ASSIGN_OR_RETURN(batch,
                            tasks.FollowZones(batch.last_id, kBatchOfZoned, BatchDeadline()));
    moved_tasks += batch.moved;
    for (const std::string& queue : batch.queues) dispatcher.TaskReady(queue, absl::Seconds(1));
  } while (batch.last_id > 0);
  db::ScheduleRepository::ZoneBatch schedule_batch;
  do {
    PARLEY_ASSIGN_OR_RETURN(schedule_batch, schedules.FollowZones(schedule_batch.last_id,
                                                                  kBatchOfZoned, BatchDeadline()));
    moved_schedules += schedule_batch.moved;
  } while (schedule_batch.last_id > 0);
  if (moved_tasks + moved_schedules > 0) {
    runtime::Log(runtime::LogLevel::kInfo, "time zones have changed",
                 {{"tasks_moved", absl::StrCat(moved_tasks)},
                  {"schedules_moved", absl::StrCat(moved_schedules)}});
  }
  return absl::OkStatus();
}

}  // namespace parley::scheduler
