#include "db/repository/task_repository.h"

#include <algorithm>
#include <limits>
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

namespace statements = sql::task;

absl::Status TaskNotFound(std::int64_t id) {
  return Error(absl::StatusCode::kNotFound, reason::kTaskNotFound,
               absl::StrCat("there is no task ", id), {{"task_id", absl::StrCat(id)}});
}

absl::Status LeaseLost(std::int64_t id) {
  return Error(absl::StatusCode::kAborted, reason::kLeaseLost,
               absl::StrCat("the lease token is not the current one of task ", id),
               {{"task_id", absl::StrCat(id)}});
}

// With the token, which callers never see.
absl::StatusOr<TaskRow> ReadTask(Session& session, std::int64_t id) {
  PARLEY_ASSIGN_OR_RETURN(std::optional<TaskRow> row,
                          session.QueryOptional<TaskRow>(statements::GetTask, {{"id", id}}));
  if (!row) return TaskNotFound(id);
  return *std::move(row);
}

// The task that a statement guarded by `lease` returned, or why it returned none.
absl::StatusOr<Task> Leased(Session& session, const TaskRepository::LeaseKey& lease,
                            absl::StatusOr<std::optional<TaskRow>> row) {
  if (!row.ok()) return row.status();
  if (*row) return std::move((*row)->task);
  PARLEY_RETURN_IF_ERROR(ReadTask(session, lease.task_id).status());
  return LeaseLost(lease.task_id);
}

std::vector<Bind> NewTaskBinds(std::int64_t id, const NewTask& task) {
  std::optional<std::int64_t> run_at_s, run_at_us;
  if (task.run_time) {
    constexpr std::int64_t kMicros = 1'000'000;
    run_at_s = absl::ToUnixSeconds(*task.run_time);  // rounds down, also before 1970
    run_at_us = absl::ToUnixMicros(*task.run_time) - *run_at_s * kMicros;
  }
  std::vector<Bind> binds = {{"id", id},
                             {"queue", task.queue},
                             {"name", task.name},
                             {"payload", absl::BytesToHexString(task.payload)},
                             {"headers", nlohmann::json(task.headers).dump()},
                             {"run_at_s", run_at_s},
                             {"run_at_us", run_at_us},
                             {"delay_us", absl::ToInt64Microseconds(task.delay)},
                             {"priority", task.priority},
                             {"max_attempts", task.max_attempts}};
  std::optional<std::string> date_time, time_zone, gap, fold, resolution;
  if (task.local_time) {
    date_time = task.local_time->date_time;
    time_zone = task.local_time->time_zone;
    gap = std::string(ToLabel(task.local_time->gap_policy));
    fold = std::string(ToLabel(task.local_time->fold_policy));
    resolution = std::string(ToLabel(task.local_time->resolution));
  }
  binds.emplace_back("local_date_time", date_time);
  binds.emplace_back("time_zone", time_zone);
  binds.emplace_back("gap_policy", gap);
  binds.emplace_back("fold_policy", fold);
  binds.emplace_back("local_resolution", resolution);
  return binds;
}

absl::StatusOr<Task> Insert(Session& session, std::int64_t id, const NewTask& task) {
  PARLEY_ASSIGN_OR_RETURN(
      std::optional<TaskRow> row,
      session.QueryOptional<TaskRow>(statements::InsertTask, NewTaskBinds(id, task)));
  if (!row) return InternalError("an inserted task did not come back");
  return std::move(row->task);
}

}  // namespace

absl::StatusOr<Task> TaskRepository::CreateTask(const NewTask& task, const RequestKey& request,
                                                absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, LostCommitOf(request), [&](Session& session) -> absl::StatusOr<Task> {
        PARLEY_ASSIGN_OR_RETURN(const std::int64_t id, NextId(session, "task_id_seq"));
        PARLEY_ASSIGN_OR_RETURN(const std::optional<std::int64_t> earlier,
                                ClaimRequest(session, request, id));
        if (earlier) {
          PARLEY_ASSIGN_OR_RETURN(TaskRow row, ReadTask(session, *earlier));
          return std::move(row.task);
        }
        return Insert(session, id, task);
      });
}

absl::StatusOr<Task> TaskRepository::GetTask(std::int64_t id, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<Task> {
    PARLEY_ASSIGN_OR_RETURN(TaskRow row, ReadTask(session, id));
    return std::move(row.task);
  });
}

absl::StatusOr<Page<Task, std::int64_t>> TaskRepository::ListTasks(const ListParams& params,
                                                                   absl::Time deadline) {
  using TaskPage = Page<Task, std::int64_t>;
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<TaskPage> {
    const auto limit = static_cast<std::size_t>(params.page.limit);
    // One more than asked for tells whether there is a next page.
    PARLEY_ASSIGN_OR_RETURN(
        std::vector<ListedTaskRow> rows,
        session.Query<ListedTaskRow>(
            statements::ListTasks,
            {{"queue", params.queue},
             {"state", params.state ? ToLabel(*params.state) : absl::string_view()},
             {"before", params.page.after.value_or(std::numeric_limits<std::int64_t>::max())},
             {"limit", params.page.limit + 1},
             {"offset", params.page.offset},
             {"max_bytes", kMaxTasksBytes}}));
    TaskPage page;
    for (std::size_t i = 0; i < std::min(rows.size(), limit); ++i) {
      page.rows.push_back(std::move(rows[i].task));
    }
    if (!page.rows.empty() && static_cast<std::size_t>(rows.front().found) > page.rows.size()) {
      page.next = page.rows.back().id;
    }
    return page;
  });
}

absl::StatusOr<Task> TaskRepository::CancelTask(std::int64_t id, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<Task> {
    PARLEY_ASSIGN_OR_RETURN(std::optional<TaskRow> cancelled,
                            session.QueryOptional<TaskRow>(statements::CancelTask, {{"id", id}}));
    if (cancelled) return std::move(cancelled->task);
    PARLEY_ASSIGN_OR_RETURN(TaskRow row, ReadTask(session, id));
    if (row.task.state == TaskState::kCancelled) return std::move(row.task);
    return Error(absl::StatusCode::kFailedPrecondition, reason::kTaskNotPending,
                 absl::StrCat("task ", id, " is ", ToLabel(row.task.state),
                              "; only a pending one can be cancelled"),
                 {{"task_id", absl::StrCat(id)}});
  });
}

absl::StatusOr<std::vector<Task>> TaskRepository::ClaimTasks(const ClaimParams& params,
                                                             absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<std::vector<Task>> {
    PARLEY_ASSIGN_OR_RETURN(
        std::vector<TaskRow> rows,
        session.Query<TaskRow>(statements::ClaimTasks,
                               {{"queues", ArrayLiteral(params.queues)},
                                {"max_tasks", params.max_tasks},
                                {"token", params.token},
                                {"lease_us", absl::ToInt64Microseconds(params.lease_duration)},
                                {"max_bytes", kMaxTasksBytes}}));
    std::vector<Task> tasks;
    tasks.reserve(rows.size());
    for (TaskRow& row : rows) tasks.push_back(std::move(row.task));
    // An UPDATE returns its rows in no particular order.
    std::sort(tasks.begin(), tasks.end(), [](const Task& a, const Task& b) {
      return std::tie(b.priority, a.run_time, a.id) < std::tie(a.priority, b.run_time, b.id);
    });
    return tasks;
  });
}

absl::StatusOr<std::vector<TaskRepository::NextDue>> TaskRepository::FindNextDue(
    const std::vector<std::string>& queues, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<std::vector<NextDue>> {
    PARLEY_ASSIGN_OR_RETURN(
        std::vector<NextDueRow> rows,
        session.Query<NextDueRow>(statements::NextDue, {{"queues", ArrayLiteral(queues)}}));
    std::vector<NextDue> result;
    result.reserve(rows.size());
    for (NextDueRow& row : rows) result.push_back({std::move(row.queue), row.due_in});
    return result;
  });
}

absl::StatusOr<Task> TaskRepository::AckTask(const LeaseKey& lease, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<Task> {
    PARLEY_ASSIGN_OR_RETURN(
        std::optional<TaskRow> acked,
        session.QueryOptional<TaskRow>(statements::AckTask,
                                       {{"id", lease.task_id}, {"token", lease.token}}));
    if (acked) return std::move(acked->task);
    PARLEY_ASSIGN_OR_RETURN(TaskRow row, ReadTask(session, lease.task_id));
    if (row.task.state == TaskState::kSucceeded && row.lease_token == lease.token) {
      return std::move(row.task);
    }
    return LeaseLost(lease.task_id);
  });
}

absl::StatusOr<Task> TaskRepository::FailTask(const FailParams& params, absl::Time deadline) {
  const LeaseKey& lease = params.lease;
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<Task> {
    // The attempt that was read is the one that is ended: both go with the token.
    PARLEY_ASSIGN_OR_RETURN(TaskRow row, ReadTask(session, lease.task_id));
    if (row.lease_token != lease.token) return LeaseLost(lease.task_id);
    const absl::Duration delay = params.retry_delay(row.task.attempt);
    return Leased(session, lease,
                  session.QueryOptional<TaskRow>(statements::FailTask,
                                                 {{"id", lease.task_id},
                                                  {"token", lease.token},
                                                  {"final", false},
                                                  {"error", params.error},
                                                  {"retry_us", absl::ToInt64Microseconds(delay)}}));
  });
}

absl::StatusOr<Task> TaskRepository::ExtendLease(const LeaseKey& lease,
                                                 absl::Duration lease_duration,
                                                 absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<Task> {
    return Leased(
        session, lease,
        session.QueryOptional<TaskRow>(statements::ExtendLease,
                                       {{"id", lease.task_id},
                                        {"token", lease.token},
                                        {"lease_us", absl::ToInt64Microseconds(lease_duration)}}));
  });
}

absl::Status TaskRepository::ReleaseTasks(const std::vector<std::int64_t>& ids,
                                          absl::string_view token, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) {
    return session.Execute(statements::ReleaseTasks, {{"ids", ArrayLiteral(ids)}, {"token", token}})
        .status();
  });
}

absl::StatusOr<std::vector<TaskRepository::Rescued>> TaskRepository::RescueExpired(
    std::int32_t max_tasks, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<std::vector<Rescued>> {
    PARLEY_ASSIGN_OR_RETURN(
        std::vector<RescuedTaskRow> rows,
        session.Query<RescuedTaskRow>(statements::RescueExpired, {{"max_tasks", max_tasks}}));
    std::vector<Rescued> result;
    result.reserve(rows.size());
    for (RescuedTaskRow& row : rows) result.push_back({std::move(row.queue), row.state});
    return result;
  });
}

absl::StatusOr<Task> TaskRepository::CreateInTransaction(Session& session, const NewTask& task) {
  PARLEY_ASSIGN_OR_RETURN(const std::int64_t id, NextId(session, "task_id_seq"));
  return Insert(session, id, task);
}

absl::Status TaskRepository::AckInTransaction(Session& session, const LeaseKey& lease) {
  return Leased(session, lease,
                session.QueryOptional<TaskRow>(statements::AckTask,
                                               {{"id", lease.task_id}, {"token", lease.token}}))
      .status();
}

absl::Status TaskRepository::GiveUpInTransaction(Session& session, const LeaseKey& lease,
                                                 absl::string_view error) {
  return Leased(session, lease,
                session.QueryOptional<TaskRow>(statements::FailTask, {{"id", lease.task_id},
                                                                      {"token", lease.token},
                                                                      {"final", true},
                                                                      {"error", error},
                                                                      {"retry_us", 0}}))
      .status();
}

absl::StatusOr<bool> TaskRepository::CancelInTransaction(Session& session, std::int64_t id) {
  PARLEY_ASSIGN_OR_RETURN(const std::optional<TaskRow> cancelled,
                          session.QueryOptional<TaskRow>(statements::CancelTask, {{"id", id}}));
  return cancelled.has_value();
}

absl::Status TaskRepository::NotifyQueues(const std::vector<std::string>& queues,
                                          absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) {
    return session.Execute(statements::NotifyQueues, {{"queues", ArrayLiteral(queues)}}).status();
  });
}

}  // namespace parley::db
