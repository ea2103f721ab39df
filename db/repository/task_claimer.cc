#include "db/repository/task_claimer.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/db_error.h"
#include "db/core/lane.h"
#include "db/repository/statements.h"
#include "db/repository/task_rows.h"

namespace parley::db {
namespace {

constexpr HotOptions kConnection = {.synchronous_commit = false};

// The columns of a claim: {ClaimedTask} in sql/fragments.sql.
namespace column {
enum Column {
  kId,
  kQueue,
  kName,
  kPayload,
  kHeaders,
  kRunAt,
  kExpiresAt,
  kPriority,
  kAttempt,
  kMaxAttempts,
  kLeaseUntil,
  kErrors,
  kOptions,
  kConcurrencyKey,
  kScheduleId,
  kFireAt,
  kCreatedAt,
  kUpdatedAt,
};
}  // namespace column

std::string TextAt(const HotResult& rows, int row, column::Column at) {
  return std::string(rows.Text(row, at));
}

absl::StatusOr<Task> TaskAt(const HotResult& rows, int row) {
  Task task;
  task.id = rows.Bigint(row, column::kId);
  task.queue = TextAt(rows, row, column::kQueue);
  task.name = TextAt(rows, row, column::kName);
  task.payload = TextAt(rows, row, column::kPayload);
  task.run_time = rows.Timestamptz(row, column::kRunAt);
  if (!rows.IsNull(row, column::kExpiresAt))
    task.expire_time = rows.Timestamptz(row, column::kExpiresAt);
  task.priority = rows.Integer(row, column::kPriority);
  task.state = TaskState::kRunning;
  task.attempt = rows.Integer(row, column::kAttempt);
  task.max_attempts = rows.Integer(row, column::kMaxAttempts);
  task.lease_until = rows.Timestamptz(row, column::kLeaseUntil);
  task.create_time = rows.Timestamptz(row, column::kCreatedAt);
  task.update_time = rows.Timestamptz(row, column::kUpdatedAt);
  // Most tasks have none of these.
  if (!rows.IsNull(row, column::kHeaders)) {
    PARLEY_ASSIGN_OR_RETURN(task.headers, HeadersFromJson(rows.Text(row, column::kHeaders)));
  }
  if (!rows.IsNull(row, column::kErrors)) {
    PARLEY_ASSIGN_OR_RETURN(task.errors, TaskErrorsFromJson(rows.Text(row, column::kErrors)));
  }
  if (!rows.IsNull(row, column::kOptions)) {
    PARLEY_ASSIGN_OR_RETURN(task.options, TaskOptionsFromJson(rows.Text(row, column::kOptions)));
  }
  if (!rows.IsNull(row, column::kConcurrencyKey)) {
    task.concurrency_key = TextAt(rows, row, column::kConcurrencyKey);
  }
  if (!rows.IsNull(row, column::kScheduleId)) {
    task.firing = {.schedule_id = rows.Bigint(row, column::kScheduleId),
                   .fire_time = rows.Timestamptz(row, column::kFireAt)};
  }
  return task;
}

std::vector<Task> TasksOf(const HotResult& rows) {
  std::vector<Task> tasks;
  tasks.reserve(static_cast<std::size_t>(rows.rows()));
  for (int row = 0; row < rows.rows(); ++row) {
    // One that cannot be read must not keep the others from their workers; its lease runs out, and
    // in the end it is dead.
    absl::StatusOr<Task> task = TaskAt(rows, row);
    if (task.ok()) tasks.push_back(*std::move(task));
  }
  // An UPDATE returns its rows in no particular order.
  std::sort(tasks.begin(), tasks.end(), [](const Task& a, const Task& b) {
    return std::tie(b.priority, a.run_time, a.id) < std::tie(a.priority, b.run_time, b.id);
  });
  return tasks;
}

}  // namespace

absl::StatusOr<HotResult> TaskClaimer::TryRun(const std::vector<HotStep>& steps,
                                              absl::Time deadline) {
  PARLEY_RETURN_IF_ERROR(EnsureConnected(dsn_, kConnection, connection_));
  HotResult last;
  PARLEY_RETURN_IF_ERROR(connection_->Run(
      steps, deadline, [&](std::size_t /*step*/, HotResult result) { last = std::move(result); }));
  return last;
}

absl::StatusOr<HotResult> TaskClaimer::Run(const std::vector<HotStep>& steps, absl::Time deadline,
                                           bool repeatable) {
  if (SteadyNow() >= deadline) return DeadlinePassed();
  absl::StatusOr<HotResult> rows = TryRun(steps, deadline);
  // A connection that had died while nobody used it, or whose statements are stale, deserves a
  // second try; but not for what may have been done.
  const bool again = !rows.ok() && connection_ != nullptr && !connection_->usable() &&
                     (repeatable || connection_->refused());
  if (again && SteadyNow() < deadline) rows = TryRun(steps, deadline);
  return rows;
}

absl::Status TaskClaimer::ReleaseLostClaim(absl::Time deadline) {
  if (lost_token_.empty()) return absl::OkStatus();
  PARLEY_RETURN_IF_ERROR(
      Run({{&sql::task_hot::ReleaseClaim, HotParams().Text(lost_token_)}}, deadline, true)
          .status());
  lost_token_.clear();
  return absl::OkStatus();
}

absl::StatusOr<HotResult> TaskClaimer::RunClaim(const std::vector<HotStep>& steps,
                                                const std::string& token, absl::Time deadline) {
  PARLEY_RETURN_IF_ERROR(ReleaseLostClaim(deadline));
  absl::StatusOr<HotResult> rows = Run(steps, deadline, /*repeatable=*/false);
  if (!rows.ok() && IsConnectionLost(rows.status())) lost_token_ = token;
  return rows;
}

absl::StatusOr<std::vector<Task>> TaskClaimer::Claim(const ClaimParams& params,
                                                     absl::Time deadline) {
  std::vector<std::optional<absl::string_view>> queues(params.queues.begin(), params.queues.end());
  PARLEY_ASSIGN_OR_RETURN(
      const HotResult rows,
      RunClaim({{&sql::task_hot::ClaimTasks,
                 HotParams()
                     .TextArray(queues)
                     .Bigint(params.max_tasks)
                     .Bigint(kMaxTasksBytes)
                     .Text(params.token)
                     .Bigint(absl::ToInt64Microseconds(params.lease_duration))}},
               params.token, deadline));
  return TasksOf(rows);
}

absl::StatusOr<std::vector<Task>> TaskClaimer::ClaimLimited(const LimitedClaimParams& params,
                                                            absl::Time deadline) {
  PARLEY_ASSIGN_OR_RETURN(
      const HotResult rows,
      RunClaim({{&sql::limited::LockLimitedQueue, HotParams().Text(params.queue)},
                {&sql::limited::ClaimLimitedTasks,
                 HotParams()
                     .Text(params.queue)
                     .Bigint(params.max_tasks)
                     .Bigint(kMaxTasksBytes)
                     .Text(params.token)
                     .Bigint(absl::ToInt64Microseconds(params.lease_duration))}},
               params.token, deadline));
  return TasksOf(rows);
}

absl::StatusOr<std::vector<TaskClaimer::NextDue>> TaskClaimer::FindNextDue(
    const std::vector<std::string>& queues, absl::Time deadline) {
  std::vector<std::optional<absl::string_view>> names(queues.begin(), queues.end());
  PARLEY_ASSIGN_OR_RETURN(
      const HotResult rows,
      Run({{&sql::task_hot::NextDue, HotParams().TextArray(names)}}, deadline, true));
  const auto duration = [](const HotResult& found, int row, int column) {
    return found.IsNull(row, column) ? absl::InfiniteDuration()
                                     : absl::Microseconds(found.Bigint(row, column));
  };
  std::vector<NextDue> result;
  std::vector<std::optional<absl::string_view>> limited;
  for (int row = 0; row < rows.rows(); ++row) {
    const absl::string_view queue = rows.Text(row, 0);
    if (rows.Boolean(row, 1)) {
      limited.emplace_back(queue);
    } else {
      result.push_back({.queue = std::string(queue), .due_in = duration(rows, row, 2)});
    }
  }
  if (limited.empty()) return result;
  PARLEY_ASSIGN_OR_RETURN(
      const HotResult others,
      Run({{&sql::limited::NextDueLimited, HotParams().TextArray(limited)}}, deadline, true));
  for (int row = 0; row < others.rows(); ++row) {
    result.push_back({.queue = std::string(others.Text(row, 0)),
                      .due_in = duration(others, row, 1),
                      .limited = true,
                      .open_in = duration(others, row, 2)});
  }
  return result;
}

}  // namespace parley::db
