// Zones change their rules; what was written with local times follows.
#pragma once

#include "absl/status/status.h"
#include "db/repository/schedule_repository.h"
#include "db/repository/task_repository.h"
#include "services/scheduler/dispatcher.h"

namespace parley::scheduler {

// Works out anew, with what this process knows of zones, when pending tasks are due that were given
// a local time and have not been tried, and when schedules fire next; in batches. Zone data is read
// once in a process's life, so that once is enough. Several processes may do it at the same time:
// if they do not know the same, the last one is right. Blocks; the errors are those of the
// repositories.
absl::Status FollowZones(db::TaskRepository& tasks, db::ScheduleRepository& schedules,
                         Dispatcher& dispatcher);

}  // namespace parley::scheduler
