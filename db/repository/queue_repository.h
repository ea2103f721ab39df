// The settings of queues, and their counters.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/core/session.h"
#include "db/core/session_pool.h"
#include "db/core/statement.h"
#include "db/model/page.h"
#include "db/model/queue.h"

namespace parley::db {

// Thread-safe. Every call blocks at most until its `deadline`. Besides what is said with a method,
// all may return DEADLINE_EXCEEDED, UNAVAILABLE, ABORTED (reason CONTENTION) and INTERNAL.
// Arguments are taken as valid: services/scheduler/queue_rules.h sees to that.
class QueueRepository {
 public:
  // `pool` must outlive the repository.
  explicit QueueRepository(SessionPool& pool) : pool_(pool) {}

  struct CreateParams {
    std::string name;
    QueueSettings settings;
    std::string request_id;   // empty: not remembered
    std::string fingerprint;  // of the content
  };
  // ALREADY_EXISTS: QUEUE_EXISTS, REQUEST_ID_REUSED.
  absl::StatusOr<Queue> Create(const CreateParams& params, absl::Time deadline);

  // The defaults if it has no row.
  absl::StatusOr<Queue> Get(absl::string_view name, absl::Time deadline);

  // All that have a row, or have had a task, by name.
  absl::StatusOr<Page<Queue, std::string>> List(const PageParams<std::string>& page,
                                                absl::Time deadline);

  struct UpdateParams {
    std::string name;
    QueueChange change;
    std::optional<std::int64_t> version;  // what it must be now
  };
  // ABORTED: ETAG_MISMATCH. What waits for a limit by key that is gone is due when this returns, as
  // far as the deadline allows; UnblockTasks does the rest.
  absl::StatusOr<Queue> Update(const UpdateParams& params, absl::Time deadline);

  // A paused queue gets the new note.
  absl::StatusOr<Queue> Pause(absl::string_view name, const std::string& note, absl::Time deadline);
  absl::StatusOr<Queue> Resume(absl::string_view name, absl::Time deadline);

  absl::StatusOr<QueueStats> GetStats(absl::string_view name, absl::Time deadline);

  // What one step of a purge has done.
  struct Purged {
    std::int64_t count = 0;
    std::int64_t last_id = 0;  // of those; where the next step goes on. 0: there are no more
  };
  struct PurgeParams {
    std::string name;
    std::int64_t after = 0;
    std::int64_t up_to = 0;
    std::int32_t max_tasks = 1;
  };
  // PENDING -> CANCELLED for at most `max_tasks` of a queue whose ids are above `after` and at most
  // `up_to`, the least first; for fewer if these weigh much (kMaxMovedBytes). Waits for whoever
  // changes one of them.
  absl::StatusOr<Purged> Purge(const PurgeParams& params, absl::Time deadline);
  // The same for DEAD ones, which are removed for good.
  absl::StatusOr<Purged> PurgeDead(const PurgeParams& params, absl::Time deadline);
  // The id of the task that was created last, or is being created.
  absl::StatusOr<std::int64_t> GetLastTaskId(absl::Time deadline);

  // Lets at most `max_tasks` tasks be claimed again that wait for a limit by key that their queue
  // does not have any more. Returns how many.
  absl::StatusOr<std::int64_t> UnblockTasks(std::int32_t max_tasks, absl::Time deadline);

  // Adds up what connections have counted that are no more.
  absl::Status FoldCounters(absl::Time deadline);

 private:
  absl::StatusOr<Purged> RunPurge(const Statement& statement, const PurgeParams& params,
                                  absl::Time deadline);
  // Locks a queue, has `change` change it, and writes what is different; a row is made if need be.
  absl::StatusOr<Queue> Change(absl::string_view name, absl::Time deadline,
                               const std::function<absl::Status(Queue&)>& change);

  SessionPool& pool_;
};

}  // namespace parley::db
