// Schedules, and the tasks they make.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/core/session_pool.h"
#include "db/model/page.h"
#include "db/model/schedule.h"
#include "db/model/task.h"

namespace parley::db {

// Thread-safe. Every call blocks at most until its `deadline`. Besides what is said with a method,
// all may return DEADLINE_EXCEEDED, UNAVAILABLE, ABORTED (reason CONTENTION) and INTERNAL; writes
// also UNKNOWN (transaction.h). Arguments are taken as valid: services/scheduler/schedule_rules.h
// sees to that. The clock that decides when something fires is the database's.
class ScheduleRepository {
 public:
  // `pool` must outlive the repository.
  explicit ScheduleRepository(SessionPool& pool) : pool_(pool) {}

  struct CreateParams {
    ScheduleSettings settings;
    std::string request_id;   // empty: not remembered
    std::string fingerprint;  // of the content
  };
  // ALREADY_EXISTS, reasons REQUEST_ID_REUSED and SCHEDULE_NAME_TAKEN. NOT_FOUND, reason
  // SCHEDULE_NOT_FOUND: the request came before, and what it created is gone.
  absl::StatusOr<Schedule> Create(const CreateParams& params, absl::Time deadline);

  // The next ones, but for List and Now: NOT_FOUND, reason SCHEDULE_NOT_FOUND.

  absl::StatusOr<Schedule> Get(std::int64_t id, absl::Time deadline);
  absl::StatusOr<Schedule> GetByName(absl::string_view name, absl::Time deadline);

  struct ListParams {
    PageParams<std::int64_t> page;  // by id, the greatest first; `after` is an id
    std::string queue;              // empty: all
  };
  // A page also ends before it weighs kMaxTasksBytes, but not before its first schedule.
  absl::StatusOr<Page<Schedule, std::int64_t>> List(const ListParams& params, absl::Time deadline);

  struct UpdateParams {
    std::int64_t id = 0;
    ScheduleChange change;
    std::optional<std::int64_t> version;  // that it must have
  };
  // With another spec it fires by that from now on; firings that were due before and not made are
  // counted as missed. What changes nothing leaves version and times as they are.
  // ABORTED, reason ETAG_MISMATCH. ALREADY_EXISTS, reason SCHEDULE_NAME_TAKEN.
  absl::StatusOr<Schedule> Update(const UpdateParams& params, absl::Time deadline);

  absl::StatusOr<Schedule> Pause(std::int64_t id, absl::string_view note, absl::Time deadline);
  // Firings between are counted as missed.
  absl::StatusOr<Schedule> Resume(std::int64_t id, absl::Time deadline);
  // Its tasks stay.
  absl::Status Delete(std::int64_t id, absl::Time deadline);

  // The database's clock.
  absl::StatusOr<absl::Time> Now(absl::Time deadline);

  // Firings (schedule_repository_fire.cc).

  struct FindDueParams {
    std::int32_t max_schedules = 1;    // of each kind
    std::vector<std::int64_t> except;  // these are not looked for
  };
  // The schedules that are due, and those that have a firing whose way is free, now that a task has
  // ended. Those that are in time come first; those that are late are another kind.
  absl::StatusOr<std::vector<std::int64_t>> FindDue(const FindDueParams& params,
                                                    absl::Time deadline);

  // A task that a firing has got.
  struct NewFiring {
    std::string queue;
    absl::Duration due_in;
  };
  struct FireResult {
    std::vector<NewFiring> tasks;
    // The schedules that have moved on, if only a step.
    std::vector<std::int64_t> moved;
    // Those that could not, because this host does not know their zones.
    std::vector<std::int64_t> stuck;
  };
  // Makes the firings of those of `ids` that are due, the first ones before others: in one
  // transaction, which is kept small. Who has missed much comes a step further, and has to be found
  // due again until nothing moves any more; so have those that there was no room for. Schedules
  // that another process has its hands on are passed over. Repeating it does no harm.
  absl::StatusOr<FireResult> Fire(const std::vector<std::int64_t>& ids, absl::Time deadline);

  struct NextFiring {
    absl::Duration due_in;   // InfiniteDuration: none
    bool buffering = false;  // a firing waits for the end of a task
  };
  // Of all schedules but these.
  absl::StatusOr<NextFiring> FindNextFiring(const std::vector<std::int64_t>& except,
                                            absl::Time deadline);

  // Firings by hand (schedule_repository_by_hand.cc).

  struct TriggerParams {
    std::int64_t id = 0;
    std::string request_id;  // empty: not remembered
  };
  // Makes one task, due now, whatever else the schedule has. If the request came before, the task
  // that it made then, as it is now: NOT_FOUND, reason TASK_NOT_FOUND, if that is forgotten.
  absl::StatusOr<Task> Trigger(const TriggerParams& params, absl::Time deadline);

  struct BackfillParams {
    std::int64_t id = 0;
    absl::Time start;  // not before
    absl::Time end;    // before
    std::int32_t limit = 0;
    std::string request_id;  // empty: not remembered
    std::string fingerprint;
  };
  struct Backfilled {
    std::int64_t firings = 0;         // of the range
    std::vector<std::string> queues;  // in which there is something new
  };
  // Makes the firings of a past range, whatever else the schedule has. Those that have a task, live
  // or dead, get no other. If the request came before, how many there were then. INVALID_ARGUMENT,
  // and nothing is done, if the range holds more than `limit`, or 32 MiB of payloads, or is not
  // over.
  absl::StatusOr<Backfilled> Backfill(const BackfillParams& params, absl::Time deadline);

  struct ZoneBatch {
    std::int64_t last_id = 0;  // of those looked at; 0: there was none
    std::int64_t moved = 0;
  };
  // Works out anew when the schedules with ids above `after`, at most `limit` of them, fire next,
  // with what this process knows of their zones.
  absl::StatusOr<ZoneBatch> FollowZones(std::int64_t after, std::int32_t limit,
                                        absl::Time deadline);

 private:
  SessionPool& pool_;
};

}  // namespace parley::db
