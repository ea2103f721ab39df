// The part of TaskRepository that lists.
#include <algorithm>
#include <cstddef>
#include <limits>
#include <utility>

#include "base/status_macros.h"
#include "db/core/session.h"
#include "db/core/transaction.h"
#include "db/repository/statements.h"
#include "db/repository/task_repository.h"
#include "db/repository/task_rows.h"

namespace parley::db {
namespace {

// Of all queues, and of one.
struct ListStatements {
  const Statement& of_all;
  const Statement& of_queue;
};

ListStatements ListStatementsFor(const std::optional<TaskState>& state) {
  namespace list = sql::task_list;
  if (!state) return {list::All, list::OfQueue};
  switch (*state) {
    case TaskState::kPending:
      return {list::Pending, list::PendingOfQueue};
    case TaskState::kRunning:
      return {list::Running, list::RunningOfQueue};
    case TaskState::kSucceeded:
      return {list::Succeeded, list::SucceededOfQueue};
    case TaskState::kDead:
      return {list::Dead, list::DeadOfQueue};
    case TaskState::kCancelled:
    case TaskState::kExpired:
      break;
  }
  return {list::Unsuccessful, list::UnsuccessfulOfQueue};
}

// Those of the page, and whether there are more after it.
struct ListedTasks {
  std::vector<Task> tasks;
  bool more = false;
};

// Runs one of the statements of task_list.sql; `binds` are those of its filter and its position.
template <class Position>
absl::StatusOr<ListedTasks> ReadListed(Session& session, const Statement& statement,
                                       const PageParams<Position>& page, std::vector<Bind> binds) {
  const std::int32_t limit = std::min(page.limit, kMaxListed);
  // One more than asked for tells whether there is a next page.
  binds.emplace_back("limit", limit + 1);
  binds.emplace_back("offset", page.offset);
  binds.emplace_back("max_bytes", kMaxTasksBytes);
  PARLEY_ASSIGN_OR_RETURN(std::vector<ListedTaskRow> rows,
                          session.Query<ListedTaskRow>(statement, std::move(binds)));
  ListedTasks listed;
  const std::size_t count = std::min(rows.size(), static_cast<std::size_t>(limit));
  for (std::size_t i = 0; i < count; ++i) listed.tasks.push_back(std::move(rows[i].task));
  listed.more = count > 0 && static_cast<std::size_t>(rows.front().found) > count;
  return listed;
}

}  // namespace

absl::StatusOr<Page<Task, std::int64_t>> TaskRepository::ListTasks(const ListParams& params,
                                                                   absl::Time deadline) {
  using TaskPage = Page<Task, std::int64_t>;
  const ListStatements statements = ListStatementsFor(params.state);
  const Statement& statement = params.queue.empty() ? statements.of_all : statements.of_queue;
  constexpr std::int64_t kEnd = std::numeric_limits<std::int64_t>::max();
  std::vector<Bind> binds = {{"up_to", params.page.after.value_or(kEnd) - 1}};
  if (!params.queue.empty()) binds.emplace_back("queue", params.queue);
  if (params.state == TaskState::kCancelled || params.state == TaskState::kExpired) {
    binds.emplace_back("state", ToLabel(*params.state));
  }
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<TaskPage> {
    PARLEY_ASSIGN_OR_RETURN(ListedTasks listed, ReadListed(session, statement, params.page, binds));
    TaskPage page;
    page.rows = std::move(listed.tasks);
    if (listed.more) page.next = page.rows.back().id;
    return page;
  });
}

absl::StatusOr<Page<Task, TaskRepository::Death>> TaskRepository::ListDeadTasks(
    const ListDeadParams& params, absl::Time deadline) {
  using DeadPage = Page<Task, Death>;
  const Statement& statement =
      params.queue.empty() ? sql::task_list::ByDeath : sql::task_list::ByDeathOfQueue;
  std::optional<absl::Time> died_by;
  std::int64_t up_to = std::numeric_limits<std::int64_t>::max();
  if (params.page.after) {
    died_by = params.page.after->time;
    up_to = params.page.after->task_id - 1;
  }
  std::vector<Bind> binds = {{"died_us", died_by}, {"up_to", up_to}, {"name", params.name}};
  if (!params.queue.empty()) binds.emplace_back("queue", params.queue);
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<DeadPage> {
    PARLEY_ASSIGN_OR_RETURN(ListedTasks listed, ReadListed(session, statement, params.page, binds));
    DeadPage page;
    page.rows = std::move(listed.tasks);
    if (listed.more) page.next = Death{page.rows.back().update_time, page.rows.back().id};
    return page;
  });
}

}  // namespace parley::db
