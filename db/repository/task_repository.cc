#include "db/repository/task_repository.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/session.h"
#include "db/core/transaction.h"
#include "db/repository/paging.h"
#include "db/repository/statements.h"
#include "db/repository/task_rows.h"

namespace parley::db {
namespace {

// Null for an empty text.
std::optional<std::string> TextOrNull(std::string text) {
  if (text.empty()) return std::nullopt;
  return text;
}

std::vector<Bind> NewTaskBinds(std::int64_t id, const NewTask& task) {
  const SplitTime expires = Split(task.expire_time);
  std::optional<std::int64_t> schedule_id;
  SplitTime fire;
  if (task.firing) {
    schedule_id = task.firing->schedule_id;
    fire = Split(task.firing->fire_time);
  }
  std::vector<Bind> binds = {{"id", id},
                             {"queue", task.queue},
                             {"name", task.name},
                             {"payload", absl::BytesToHexString(task.payload)},
                             {"headers", nlohmann::json(task.headers).dump()},
                             {"expires_at_s", expires.seconds},
                             {"expires_at_us", expires.micros},
                             {"priority", task.priority},
                             {"max_attempts", task.max_attempts},
                             {"options", TextOrNull(TaskOptionsToJson(OptionsOf(task)))},
                             {"concurrency_key", TextOrNull(task.concurrency_key)},
                             {"schedule_id", schedule_id},
                             {"fire_at_s", fire.seconds},
                             {"fire_at_us", fire.micros}};
  AppendTimeBinds(task, binds);
  return binds;
}

absl::StatusOr<Task> Insert(Session& session, std::int64_t id, const NewTask& task) {
  PARLEY_RETURN_IF_ERROR(
      session.QueryOptional<IdRow>(sql::task::InsertTask, NewTaskBinds(id, task)).status());
  return ReadTask(session, id);
}

// The state of a live task, locked; none: it has ended, or never was.
absl::StatusOr<std::optional<TaskState>> Lock(Session& session, std::int64_t id) {
  PARLEY_ASSIGN_OR_RETURN(const std::optional<TaskStateRow> row,
                          session.QueryOptional<TaskStateRow>(sql::task::LockTask, {{"id", id}}));
  if (!row) return std::optional<TaskState>();
  return std::optional<TaskState>(row->state);
}

absl::Status WrongState(const Task& task, absl::string_view reason, absl::string_view wanted) {
  return Error(absl::StatusCode::kFailedPrecondition, reason,
               absl::StrCat("task ", task.id, " is ", ToLabel(task.state), "; ", wanted),
               {{"task_id", absl::StrCat(task.id)}});
}

absl::StatusOr<Task> Cancel(Session& session, std::int64_t id) {
  PARLEY_ASSIGN_OR_RETURN(const std::optional<TaskState> state, Lock(session, id));
  if (state) {
    const Statement& change =
        *state == TaskState::kPending ? sql::task::EndPendingTask : sql::task::RequestCancel;
    PARLEY_RETURN_IF_ERROR(session.QueryOptional<IdRow>(change, {{"id", id}}).status());
  }
  PARLEY_ASSIGN_OR_RETURN(Task task, ReadTask(session, id));
  if (state || task.state == TaskState::kCancelled) return task;
  return WrongState(task, reason::kTaskEnded, "only one that has not ended can be cancelled");
}

absl::StatusOr<Task> Reschedule(Session& session, std::int64_t id, const TaskTime& time) {
  std::optional<std::string> local_time;
  if (time.local_time) local_time = ToJson(*time.local_time);
  std::vector<Bind> binds = {{"id", id}, {"local_time", local_time}};
  AppendTimeBinds(time, binds);
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> moved,
      session.QueryOptional<IdRow>(sql::task::RescheduleTask, std::move(binds)));
  PARLEY_ASSIGN_OR_RETURN(Task task, ReadTask(session, id));
  if (moved) return task;
  return WrongState(task, reason::kTaskNotPending, "only a pending one has a time to be changed");
}

// Why a dead task stays dead.
absl::Status FiringTaken(Session& session, std::int64_t id) {
  PARLEY_ASSIGN_OR_RETURN(const std::optional<IdRow> other,
                          session.QueryOptional<IdRow>(sql::task::FindOtherOfFiring, {{"id", id}}));
  // It has ended just now; the next call succeeds.
  if (!other) return Error(absl::StatusCode::kAborted, reason::kContention, "try again");
  return Error(absl::StatusCode::kFailedPrecondition, reason::kFiringTaken,
               absl::StrCat("task ", id, " is of a firing that task ", other->id,
                            " was made for again, which has not ended"),
               {{"task_id", absl::StrCat(id)}, {"other_task_id", absl::StrCat(other->id)}});
}

absl::StatusOr<std::vector<IdRow>> Redrive(Session& session, const std::vector<std::int64_t>& ids) {
  return session.Query<IdRow>(sql::task::RedriveTasks, {{"ids", ArrayLiteral(ids)}});
}

}  // namespace

absl::Status TaskNotFound(std::int64_t id) {
  return Error(absl::StatusCode::kNotFound, reason::kTaskNotFound,
               absl::StrCat("there is no task ", id), {{"task_id", absl::StrCat(id)}});
}

absl::StatusOr<TaskRow> ReadTaskAndToken(Session& session, std::int64_t id) {
  PARLEY_ASSIGN_OR_RETURN(std::optional<TaskRow> row,
                          session.QueryOptional<TaskRow>(sql::task::GetTask, {{"id", id}}));
  if (!row) return TaskNotFound(id);
  return *std::move(row);
}

absl::StatusOr<Task> ReadTask(Session& session, std::int64_t id) {
  PARLEY_ASSIGN_OR_RETURN(TaskRow row, ReadTaskAndToken(session, id));
  return std::move(row.task);
}

absl::StatusOr<Task> TaskRepository::GetTask(std::int64_t id, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) { return ReadTask(session, id); });
}

absl::StatusOr<std::set<std::int64_t>> TaskRepository::FindLive(
    const std::vector<std::int64_t>& ids, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<std::set<std::int64_t>> {
    PARLEY_ASSIGN_OR_RETURN(
        const std::vector<IdRow> rows,
        session.Query<IdRow>(sql::task::FindLive, {{"ids", ArrayLiteral(ids)}}));
    std::set<std::int64_t> live;
    for (const IdRow& row : rows) live.insert(row.id);
    return live;
  });
}

absl::StatusOr<std::map<std::int64_t, Task>> TaskRepository::ReadTasks(
    const std::vector<std::int64_t>& ids, absl::Time deadline) {
  return RunOnce(pool_, deadline,
                 [&](Session& session) -> absl::StatusOr<std::map<std::int64_t, Task>> {
                   PARLEY_ASSIGN_OR_RETURN(
                       std::vector<TaskRow> rows,
                       session.Query<TaskRow>(sql::task::ReadTasks, {{"ids", ArrayLiteral(ids)}}));
                   std::map<std::int64_t, Task> tasks;
                   for (TaskRow& row : rows) tasks[row.task.id] = std::move(row.task);
                   return tasks;
                 });
}

absl::StatusOr<Task> TaskRepository::CancelTask(std::int64_t id, absl::Time deadline) {
  return RunTransaction(pool_, deadline, OnLostCommit::kSafeToRetry,
                        [&](Session& session) { return Cancel(session, id); });
}

absl::StatusOr<Task> TaskRepository::RescheduleTask(std::int64_t id, const TaskTime& time,
                                                    absl::Time deadline) {
  return RunTransaction(pool_, deadline, OnLostCommit::kSafeToRetry,
                        [&](Session& session) { return Reschedule(session, id, time); });
}

absl::StatusOr<Task> TaskRepository::RedriveTask(std::int64_t id, absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry, [&](Session& session) -> absl::StatusOr<Task> {
        PARLEY_ASSIGN_OR_RETURN(const std::vector<IdRow> revived, Redrive(session, {id}));
        PARLEY_ASSIGN_OR_RETURN(Task task, ReadTask(session, id));
        if (!revived.empty() || task.state == TaskState::kPending) return task;
        if (task.state == TaskState::kDead) return FiringTaken(session, id);
        return WrongState(task, reason::kTaskNotDead, "only a dead one can be driven again");
      });
}

absl::StatusOr<std::int64_t> TaskRepository::RedriveTasks(absl::string_view queue,
                                                          std::int32_t max_tasks,
                                                          absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry,
      [&](Session& session) -> absl::StatusOr<std::int64_t> {
        PARLEY_ASSIGN_OR_RETURN(
            const std::vector<IdRow> dead,
            session.Query<IdRow>(
                sql::task::LockDeadTasks,
                {{"queue", queue}, {"max_tasks", max_tasks}, {"max_bytes", kMaxMovedBytes}}));
        std::vector<std::int64_t> ids;
        ids.reserve(dead.size());
        for (const IdRow& row : dead) ids.push_back(row.id);
        PARLEY_ASSIGN_OR_RETURN(const std::vector<IdRow> revived, Redrive(session, ids));
        return static_cast<std::int64_t>(revived.size());
      });
}

absl::StatusOr<std::int64_t> TaskRepository::DropDead(std::int32_t days, std::int32_t max_tasks,
                                                      absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<std::int64_t> {
    PARLEY_ASSIGN_OR_RETURN(
        const std::vector<IdRow> removed,
        session.Query<IdRow>(
            sql::task::DropDeadTasks,
            {{"days", days}, {"max_tasks", max_tasks}, {"max_bytes", kMaxMovedBytes}}));
    return static_cast<std::int64_t>(removed.size());
  });
}

absl::StatusOr<Task> TaskRepository::CreateInTransaction(Session& session, const NewTask& task) {
  PARLEY_ASSIGN_OR_RETURN(const std::int64_t id, NextId(session, "task_id_seq"));
  return Insert(session, id, task);
}

absl::StatusOr<bool> TaskRepository::CancelInTransaction(Session& session, std::int64_t id) {
  PARLEY_ASSIGN_OR_RETURN(const std::optional<TaskState> state, Lock(session, id));
  if (state != TaskState::kPending) return false;
  PARLEY_RETURN_IF_ERROR(
      session.QueryOptional<IdRow>(sql::task::EndPendingTask, {{"id", id}}).status());
  return true;
}

absl::Status TaskRepository::NotifyQueues(const std::vector<std::string>& queues,
                                          absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) {
    return session.Execute(sql::task::NotifyQueues, {{"queues", ArrayLiteral(queues)}}).status();
  });
}

}  // namespace parley::db
