// The tasks of all queues: stored, found, leased and ended.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/core/session.h"
#include "db/core/session_pool.h"
#include "db/model/page.h"
#include "db/model/task.h"
#include "db/repository/request_log.h"

namespace parley::db {

// The channel on which processes tell each other the names of queues in which a task was put.
inline constexpr char kTaskChannel[] = "parley_tasks";

// How much the tasks of one answer may weigh; gRPC clients refuse answers above 4 MiB.
inline constexpr std::int64_t kMaxTasksBytes = std::int64_t{3} << 20;

// Thread-safe. Every call blocks at most until its `deadline`. Besides what is said with a method,
// all may return DEADLINE_EXCEEDED, UNAVAILABLE, ABORTED (reason CONTENTION) and INTERNAL.
// Arguments are taken as valid: services/scheduler/task_rules.h sees to that.
class TaskRepository {
 public:
  // `pool` must outlive the repository.
  explicit TaskRepository(SessionPool& pool) : pool_(pool) {}

  // Stores a task, PENDING. A request that came before returns its task as it is now.
  // ALREADY_EXISTS, reason REQUEST_ID_REUSED: the request came before with other content.
  // `request.operation` is "CreateTask" and `request.scope_id` 0.
  absl::StatusOr<Task> CreateTask(const NewTask& task, const RequestKey& request,
                                  absl::Time deadline);

  // NOT_FOUND, reason TASK_NOT_FOUND.
  absl::StatusOr<Task> GetTask(std::int64_t id, absl::Time deadline);

  struct ListParams {
    PageParams<std::int64_t> page;   // by id, the greatest first; `after` is an id
    std::string queue;               // empty: all
    std::optional<TaskState> state;  // absent: all
  };
  // A page also ends before it weighs kMaxTasksBytes, but not before its first task.
  absl::StatusOr<Page<Task, std::int64_t>> ListTasks(const ListParams& params, absl::Time deadline);

  // PENDING -> CANCELLED. A cancelled task is returned as it is.
  // NOT_FOUND, reason TASK_NOT_FOUND. FAILED_PRECONDITION, reason TASK_NOT_PENDING.
  absl::StatusOr<Task> CancelTask(std::int64_t id, absl::Time deadline);

  struct ClaimParams {
    std::vector<std::string> queues;
    std::int32_t max_tasks = 1;
    absl::Duration lease_duration;
    std::string token;  // 32 lower-case hex digits, never used before
  };
  // PENDING -> RUNNING for due tasks, under one token: the greatest priority first, then the
  // longest due, at most kMaxTasksBytes but at least one. Tasks that another claim has its hands on
  // are passed over, so that fewer may come than are due. Empty: none was due.
  absl::StatusOr<std::vector<Task>> ClaimTasks(const ClaimParams& params, absl::Time deadline);

  struct NextDue {
    std::string queue;
    absl::Duration due_in;  // by the database's clock; not positive: now
  };
  // When each queue's next task is due. Queues without a PENDING task are left out.
  absl::StatusOr<std::vector<NextDue>> FindNextDue(const std::vector<std::string>& queues,
                                                   absl::Time deadline);

  // What a worker shows to end or extend its lease.
  struct LeaseKey {
    std::int64_t task_id = 0;
    std::string token;
  };
  // The next three: NOT_FOUND, reason TASK_NOT_FOUND; ABORTED, reason LEASE_LOST, if the token is
  // not that of the task's lease: nothing has changed.

  // RUNNING -> SUCCEEDED. Repeated with the same token, it returns the task again.
  absl::StatusOr<Task> AckTask(const LeaseKey& lease, absl::Time deadline);

  struct FailParams {
    LeaseKey lease;
    std::string error;
    std::function<absl::Duration(std::int32_t attempt)> retry_delay;  // after that many attempts
  };
  // RUNNING -> PENDING, due after the retry delay; or DEAD, if it was the last attempt.
  absl::StatusOr<Task> FailTask(const FailParams& params, absl::Time deadline);

  // The lease ends `lease_duration` from now.
  absl::StatusOr<Task> ExtendLease(const LeaseKey& lease, absl::Duration lease_duration,
                                   absl::Time deadline);

  // RUNNING -> PENDING for tasks claimed under `token`, as if they had not been claimed. Those that
  // are no longer held under it are left alone.
  absl::Status ReleaseTasks(const std::vector<std::int64_t>& ids, absl::string_view token,
                            absl::Time deadline);

  // A task whose lease had run out.
  struct Rescued {
    std::string queue;
    TaskState state = TaskState::kPending;  // or kDead
  };
  // RUNNING -> PENDING, due now, or DEAD after the last attempt, for at most `max_tasks` tasks
  // whose leases have run out.
  absl::StatusOr<std::vector<Rescued>> RescueExpired(std::int32_t max_tasks, absl::Time deadline);

  // For those who end their own tasks in the transaction that does the work, or write a task
  // together with what it is about. `session` is in a transaction; nothing holds before its commit.

  // PENDING, in any queue.
  static absl::StatusOr<Task> CreateInTransaction(Session& session, const NewTask& task);
  // RUNNING -> SUCCEEDED. ABORTED, reason LEASE_LOST: the lease is gone, and so must be the work.
  static absl::Status AckInTransaction(Session& session, const LeaseKey& lease);
  // RUNNING -> DEAD at once, whatever attempts are left. ABORTED, reason LEASE_LOST.
  static absl::Status GiveUpInTransaction(Session& session, const LeaseKey& lease,
                                          absl::string_view error);
  // PENDING -> CANCELLED. False: the task was not pending, and is as it was.
  static absl::StatusOr<bool> CancelInTransaction(Session& session, std::int64_t id);

  // Tells all who listen on kTaskChannel that there may be something new in these queues.
  absl::Status NotifyQueues(const std::vector<std::string>& queues, absl::Time deadline);

 private:
  SessionPool& pool_;
};

}  // namespace parley::db
