// The part of TaskRepository that workers need.
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/session.h"
#include "db/core/transaction.h"
#include "db/repository/statements.h"
#include "db/repository/task_key_rows.h"
#include "db/repository/task_repository.h"
#include "db/repository/task_rows.h"

namespace parley::db {
namespace {

absl::Status LeaseLost(std::int64_t id) {
  return Error(absl::StatusCode::kAborted, reason::kLeaseLost,
               absl::StrCat("the lease token is not the current one of task ", id),
               {{"task_id", absl::StrCat(id)}});
}

// What a statement guarded by `lease` has done to the task, or why it has done nothing.
absl::StatusOr<Task> Guarded(Session& session, const LeaseKey& lease, bool done) {
  PARLEY_ASSIGN_OR_RETURN(Task task, ReadTask(session, lease.task_id));
  if (!done) return LeaseLost(lease.task_id);
  return task;
}

using Running = std::map<std::int64_t, TaskRepository::RunningTask>;

Running RunningOf(std::vector<LeaseRow> rows) {
  Running running;
  for (LeaseRow& row : rows)
    running[row.id] = {std::move(row.token), row.cancel_requested, row.left};
  return running;
}

// Those whose leases are not lost.
absl::StatusOr<Running> Extend(Session& session,
                               const std::vector<TaskRepository::Extension>& extensions) {
  std::vector<std::int64_t> ids, lease_us;
  std::vector<std::string> tokens;
  for (const TaskRepository::Extension& extension : extensions) {
    ids.push_back(extension.lease.task_id);
    tokens.push_back(extension.lease.token);
    lease_us.push_back(absl::ToInt64Microseconds(extension.duration));
  }
  PARLEY_ASSIGN_OR_RETURN(
      std::vector<LeaseRow> rows,
      session.Query<LeaseRow>(sql::task::ExtendLeases, {{"ids", ArrayLiteral(ids)},
                                                        {"tokens", ArrayLiteral(tokens)},
                                                        {"lease_us", ArrayLiteral(lease_us)}}));
  return RunningOf(std::move(rows));
}

absl::string_view LabelOf(AttemptEnd::Kind kind) {
  switch (kind) {
    case AttemptEnd::Kind::kFailed:
      return "failed";
    case AttemptEnd::Kind::kAbandoned:
      return "abandoned";
    case AttemptEnd::Kind::kFailedForGood:
      return "final";
    case AttemptEnd::Kind::kReleased:
      return "released";
  }
  return "";
}

// Those whose leases are not lost.
absl::StatusOr<std::vector<TaskRepository::Moved>> End(Session& session,
                                                       const std::vector<AttemptEnd>& ends) {
  std::vector<std::int64_t> ids;
  std::vector<std::string> tokens, kinds, errors;
  for (const AttemptEnd& end : ends) {
    ids.push_back(end.lease.task_id);
    tokens.push_back(end.lease.token);
    kinds.emplace_back(LabelOf(end.kind));
    errors.push_back(end.error);
  }
  PARLEY_ASSIGN_OR_RETURN(
      std::vector<MovedTaskRow> rows,
      session.Query<MovedTaskRow>(sql::task::EndAttempts, {{"ids", ArrayLiteral(ids)},
                                                           {"tokens", ArrayLiteral(tokens)},
                                                           {"kinds", ArrayLiteral(kinds)},
                                                           {"errors", ArrayLiteral(errors)}}));
  std::vector<TaskRepository::Moved> moved;
  moved.reserve(rows.size());
  for (MovedTaskRow& row : rows) {
    moved.push_back({row.id, std::move(row.queue), row.state, row.limited});
  }
  return moved;
}

}  // namespace

absl::StatusOr<Task> TaskRepository::GetAckedTask(const LeaseKey& lease, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<Task> {
    PARLEY_ASSIGN_OR_RETURN(TaskRow row, ReadTaskAndToken(session, lease.task_id));
    if (row.task.state != TaskState::kSucceeded || row.lease_token != lease.token) {
      return LeaseLost(lease.task_id);
    }
    return std::move(row.task);
  });
}

absl::Status TaskRepository::AckTask(const LeaseKey& lease, absl::Time deadline) {
  return RunTransaction(pool_, deadline, OnLostCommit::kSafeToRetry,
                        [&](Session& session) -> absl::StatusOr<bool> {
                          PARLEY_RETURN_IF_ERROR(AckInTransaction(session, lease));
                          return true;
                        })
      .status();
}

absl::StatusOr<Task> TaskRepository::EndAttempt(const AttemptEnd& end, absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kInDoubt, [&](Session& session) -> absl::StatusOr<Task> {
        PARLEY_ASSIGN_OR_RETURN(const std::vector<Moved> moved, End(session, {end}));
        return Guarded(session, end.lease, !moved.empty());
      });
}

absl::StatusOr<Task> TaskRepository::ExtendLease(const LeaseKey& lease,
                                                 absl::Duration lease_duration,
                                                 absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry, [&](Session& session) -> absl::StatusOr<Task> {
        PARLEY_ASSIGN_OR_RETURN(const Running extended, Extend(session, {{lease, lease_duration}}));
        return Guarded(session, lease, !extended.empty());
      });
}

absl::StatusOr<std::map<std::int64_t, TaskRepository::RunningTask>> TaskRepository::ExtendLeases(
    const std::vector<Extension>& extensions, absl::Time deadline) {
  return RunTransaction(pool_, deadline, OnLostCommit::kSafeToRetry,
                        [&](Session& session) { return Extend(session, extensions); });
}

absl::StatusOr<std::vector<TaskRepository::Moved>> TaskRepository::EndAttempts(
    const std::vector<AttemptEnd>& ends, absl::Time deadline) {
  return RunTransaction(pool_, deadline, OnLostCommit::kInDoubt,
                        [&](Session& session) { return End(session, ends); });
}

absl::Status TaskRepository::WhyNotHeld(const LeaseKey& lease, absl::Time deadline) {
  return RunOnce(pool_, deadline,
                 [&](Session& session) { return Guarded(session, lease, false).status(); });
}

absl::StatusOr<std::map<std::int64_t, TaskRepository::RunningTask>> TaskRepository::FindRunning(
    const std::vector<std::int64_t>& ids, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<Running> {
    PARLEY_ASSIGN_OR_RETURN(
        std::vector<LeaseRow> rows,
        session.Query<LeaseRow>(sql::task::FindRunning, {{"ids", ArrayLiteral(ids)}}));
    return RunningOf(std::move(rows));
  });
}

absl::StatusOr<std::vector<TaskRepository::Moved>> TaskRepository::RescueExpired(
    std::int32_t max_tasks, absl::Time deadline) {
  return RunTransaction(pool_, deadline, OnLostCommit::kSafeToRetry,
                        [&](Session& session) -> absl::StatusOr<std::vector<Moved>> {
                          PARLEY_ASSIGN_OR_RETURN(
                              const std::vector<ExpiredLeaseRow> expired,
                              session.Query<ExpiredLeaseRow>(
                                  sql::task::LockExpiredLeases,
                                  {{"max_tasks", max_tasks}, {"max_bytes", kMaxMovedBytes}}));
                          if (expired.empty()) return std::vector<Moved>();
                          std::vector<AttemptEnd> ends;
                          ends.reserve(expired.size());
                          for (const ExpiredLeaseRow& lease : expired) {
                            AttemptEnd end = {.lease = {lease.id, lease.token},
                                              .kind = AttemptEnd::Kind::kAbandoned,
                                              .error = "the lease ran out"};
                            if (lease.timed_out) {
                              end.kind = AttemptEnd::Kind::kFailed;
                              end.error = "the run timeout is over";
                            }
                            ends.push_back(std::move(end));
                          }
                          return End(session, ends);
                        });
}

absl::StatusOr<std::int64_t> TaskRepository::ExpireTasks(std::int32_t max_tasks,
                                                         absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<std::int64_t> {
    PARLEY_ASSIGN_OR_RETURN(
        const std::vector<IdRow> expired,
        session.Query<IdRow>(sql::task::ExpireTasks,
                             {{"max_tasks", max_tasks}, {"max_bytes", kMaxMovedBytes}}));
    return static_cast<std::int64_t>(expired.size());
  });
}

absl::StatusOr<std::int64_t> TaskRepository::SweepDedupeKeys(std::int32_t max_keys,
                                                             absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry,
      [&](Session& session) -> absl::StatusOr<std::int64_t> {
        PARLEY_ASSIGN_OR_RETURN(
            const std::vector<TaskKeyRow> rows,
            session.Query<TaskKeyRow>(sql::task_key::LockKeysToLookAt, {{"max_keys", max_keys}}));
        if (rows.empty()) return 0;
        std::vector<std::string> queues, keys;
        for (const TaskKeyRow& row : rows) {
          queues.push_back(row.queue);
          keys.push_back(row.key);
        }
        PARLEY_RETURN_IF_ERROR(
            session
                .Execute(sql::task_key::SweepKeys,
                         {{"queues", ArrayLiteral(queues)}, {"keys", ArrayLiteral(keys)}})
                .status());
        return static_cast<std::int64_t>(rows.size());
      });
}

absl::Status TaskRepository::ExtendHistory(std::int32_t days, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) {
    return session.Query<IdRow>(sql::task::ExtendTaskHistory, {{"days", days}}).status();
  });
}

absl::StatusOr<bool> TaskRepository::DropHistory(std::int32_t days, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<bool> {
    PARLEY_ASSIGN_OR_RETURN(const std::vector<IdRow> dropped,
                            session.Query<IdRow>(sql::task::DropTaskHistory, {{"days", days}}));
    return !dropped.empty() && dropped.front().id != 0;
  });
}

absl::Status TaskRepository::AckInTransaction(Session& session, const LeaseKey& lease) {
  PARLEY_ASSIGN_OR_RETURN(const std::optional<IdRow> acked,
                          session.QueryOptional<IdRow>(
                              sql::task::AckTask, {{"id", lease.task_id}, {"token", lease.token}}));
  return Guarded(session, lease, acked.has_value()).status();
}

absl::Status TaskRepository::GiveUpInTransaction(Session& session, const LeaseKey& lease,
                                                 absl::string_view error) {
  PARLEY_ASSIGN_OR_RETURN(const std::vector<Moved> moved,
                          End(session, {{.lease = lease,
                                         .kind = AttemptEnd::Kind::kFailedForGood,
                                         .error = std::string(error)}}));
  return Guarded(session, lease, !moved.empty()).status();
}

}  // namespace parley::db
