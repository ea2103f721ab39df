// Creates tasks that have a dedupe key.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/session_pool.h"
#include "db/model/task.h"
#include "db/repository/task_creator.h"

namespace parley::db {

// The plain lane's counterpart of TaskCreator: a call is a transaction of its own, because it may
// have to wait for others who have just written the same keys. Thread-safe.
class KeyedTaskCreator {
 public:
  // `pool` must outlive the creator.
  explicit KeyedTaskCreator(SessionPool& pool) : pool_(pool) {}

  // Creates tasks, PENDING, or settles with those that have their keys, in their order; those
  // without a key too. Arguments are taken as valid. Blocks until `deadline` at most. Of a task
  // that is created only the id is told, and `is_new` is never set.
  // ALREADY_EXISTS: reason DEDUPE_KEY_TAKEN, with the task_id that has the key; reason
  // REQUEST_ID_REUSED. The others are created. For all: DEADLINE_EXCEEDED, UNAVAILABLE, ABORTED
  // (CONTENTION; also if a key is locked for a second). COMMIT_IN_DOUBT: those with a request id
  // are UNAVAILABLE, the others UNKNOWN.
  TaskCreator::Outcomes Create(const std::vector<CreateTaskParams>& tasks, absl::Time deadline);

  // The same with one task, read in the same transaction.
  // Besides, NOT_FOUND, reason TASK_NOT_FOUND: the request came before, and its task is forgotten.
  absl::StatusOr<Task> CreateOne(const CreateTaskParams& params, absl::Time deadline);

 private:
  SessionPool& pool_;
};

}  // namespace parley::db
