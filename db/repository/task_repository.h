// The tasks of all queues: found, changed and ended. They are created by task_creator.h and handed
// out by task_claimer.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
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
#include "db/repository/task_claimer.h"

namespace parley::db {

// The channel on which processes tell each other the names of queues in which a task was put.
inline constexpr char kTaskChannel[] = "parley_tasks";

// How many tasks a page of a list has at most. task_list.sql has it too, with one more.
inline constexpr std::int32_t kMaxListed = 100;

// NOT_FOUND, reason TASK_NOT_FOUND.
absl::Status TaskNotFound(std::int64_t id);

// Thread-safe. Every call blocks at most until its `deadline`. Besides what is said with a method,
// all may return DEADLINE_EXCEEDED, UNAVAILABLE, ABORTED (reason CONTENTION) and INTERNAL.
// Arguments are taken as valid: services/scheduler/task_rules.h sees to that.
class TaskRepository {
 public:
  // `pool` must outlive the repository.
  explicit TaskRepository(SessionPool& pool) : pool_(pool) {}

  // NOT_FOUND, reason TASK_NOT_FOUND.
  absl::StatusOr<Task> GetTask(std::int64_t id, absl::Time deadline);

  // Those of `ids` that are PENDING or RUNNING.
  absl::StatusOr<std::set<std::int64_t>> FindLive(const std::vector<std::int64_t>& ids,
                                                  absl::Time deadline);
  // Those of `ids` that there are, by id. They may be big: ask for few.
  absl::StatusOr<std::map<std::int64_t, Task>> ReadTasks(const std::vector<std::int64_t>& ids,
                                                         absl::Time deadline);

  // The next two: a page has kMaxListed tasks at most, and ends before it weighs kMaxTasksBytes,
  // but not before its first task.

  struct ListParams {
    PageParams<std::int64_t> page;   // by id, the greatest first; `after` is an id
    std::string queue;               // empty: all
    std::optional<TaskState> state;  // absent: all
  };
  absl::StatusOr<Page<Task, std::int64_t>> ListTasks(const ListParams& params, absl::Time deadline);

  // Where a dead task is in their list.
  struct Death {
    absl::Time time;
    std::int64_t task_id = 0;
  };
  struct ListDeadParams {
    PageParams<Death> page;  // the latest first; of two at the same time, the greater id
    std::string queue;       // empty: all
    std::string name;        // empty: all
  };
  absl::StatusOr<Page<Task, Death>> ListDeadTasks(const ListDeadParams& params,
                                                  absl::Time deadline);

  // PENDING -> CANCELLED; a RUNNING one is marked, and its lease stays. A cancelled task is
  // returned as it is. NOT_FOUND, reason TASK_NOT_FOUND. FAILED_PRECONDITION, reason TASK_ENDED.
  absl::StatusOr<Task> CancelTask(std::int64_t id, absl::Time deadline);

  // Gives a PENDING task another time.
  // NOT_FOUND, reason TASK_NOT_FOUND. FAILED_PRECONDITION, reason TASK_NOT_PENDING.
  absl::StatusOr<Task> RescheduleTask(std::int64_t id, const TaskTime& time, absl::Time deadline);

  // The next four: NOT_FOUND, reason TASK_NOT_FOUND; ABORTED, reason LEASE_LOST, if the token is
  // not that of the task's lease: nothing has changed.

  // The task that has SUCCEEDED under this token (task_acker.h).
  absl::StatusOr<Task> GetAckedTask(const LeaseKey& lease, absl::Time deadline);

  // RUNNING -> SUCCEEDED.
  absl::Status AckTask(const LeaseKey& lease, absl::Time deadline);

  // RUNNING -> PENDING, DEAD, or CANCELLED if that was asked for.
  absl::StatusOr<Task> EndAttempt(const AttemptEnd& end, absl::Time deadline);

  // The lease ends `lease_duration` from now, or at the end of the task's run timeout. See also
  // ExtendLeases.
  absl::StatusOr<Task> ExtendLease(const LeaseKey& lease, absl::Duration lease_duration,
                                   absl::Time deadline);

  // A task that was moved on.
  struct Moved {
    std::int64_t id = 0;
    std::string queue;
    TaskState state = TaskState::kPending;
    bool queue_limited = false;  // another task of the queue may run in its place
  };
  // EndAttempt for many. Those whose leases are lost are left alone and left out.
  absl::StatusOr<std::vector<Moved>> EndAttempts(const std::vector<AttemptEnd>& ends,
                                                 absl::Time deadline);
  // NOT_FOUND or LEASE_LOST, of a lease that a call for many has left out.
  absl::Status WhyNotHeld(const LeaseKey& lease, absl::Time deadline);

  // How a RUNNING task is held.
  struct RunningTask {
    std::string token;
    bool cancel_requested = false;
    absl::Duration left;  // of the lease
  };
  struct Extension {
    LeaseKey lease;
    absl::Duration duration;
  };
  // ExtendLease for many. Those whose leases are lost are left alone and left out.
  absl::StatusOr<std::map<std::int64_t, RunningTask>> ExtendLeases(
      const std::vector<Extension>& extensions, absl::Time deadline);

  // Those of `ids` that are RUNNING.
  absl::StatusOr<std::map<std::int64_t, RunningTask>> FindRunning(
      const std::vector<std::int64_t>& ids, absl::Time deadline);

  // This, ExpireTasks, RedriveTasks and DropDead take fewer than they may if those weigh much
  // (kMaxMovedBytes): whoever wants all asks until there is none.

  // RUNNING -> PENDING, due now, or DEAD or CANCELLED, for at most `max_tasks` tasks whose leases
  // have run out. Those whose run timeout is over rest as those that failed.
  absl::StatusOr<std::vector<Moved>> RescueExpired(std::int32_t max_tasks, absl::Time deadline);

  // PENDING -> EXPIRED for at most `max_tasks` tasks whose expire_time is over. Returns how many.
  absl::StatusOr<std::int64_t> ExpireTasks(std::int32_t max_tasks, absl::Time deadline);

  // Removes dedupe keys that are not needed any more, among at most `max_keys` that are to be
  // looked at. Returns how many were looked at.
  absl::StatusOr<std::int64_t> SweepDedupeKeys(std::int32_t max_keys, absl::Time deadline);

  // DEAD -> PENDING, due now, with all attempts before it. A pending task is returned as it is.
  // NOT_FOUND, reason TASK_NOT_FOUND. FAILED_PRECONDITION, reasons TASK_NOT_DEAD and FIRING_TAKEN:
  // another task of its firing lives.
  absl::StatusOr<Task> RedriveTask(std::int64_t id, absl::Time deadline);

  // The same for at most `max_tasks` of a queue; those whose firings are taken are passed over.
  // Returns how many.
  absl::StatusOr<std::int64_t> RedriveTasks(absl::string_view queue, std::int32_t max_tasks,
                                            absl::Time deadline);

  // Removes, for good, at most `max_tasks` of those that have been DEAD for at least `days` days,
  // the first first, as PurgeDead of QueueRepository does. Returns how many.
  absl::StatusOr<std::int64_t> DropDead(std::int32_t days, std::int32_t max_tasks,
                                        absl::Time deadline);

  struct ZoneBatch {
    std::int64_t last_id = 0;  // of those looked at; 0: there was none
    std::int64_t moved = 0;
    std::vector<std::string> queues;  // in which tasks have moved
  };
  // Works out anew when PENDING tasks are due that were given a local time, have not been tried and
  // are not due yet: those with ids above `after`, at most `limit` of them, with what this process
  // knows of their zones. A time that its policies would refuse by now is shifted, or the first of
  // two.
  absl::StatusOr<ZoneBatch> FollowZones(std::int64_t after, std::int32_t limit,
                                        absl::Time deadline);

  // Sees to it that tasks that end on the next `days` days find a place in the history.
  absl::Status ExtendHistory(std::int32_t days, absl::Time deadline);
  // Forgets the tasks that ended on the oldest day of the history, if that is more than `days` days
  // ago; false if there is no such day.
  absl::StatusOr<bool> DropHistory(std::int32_t days, absl::Time deadline);

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
