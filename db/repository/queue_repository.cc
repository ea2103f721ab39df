#include "db/repository/queue_repository.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/transaction.h"
#include "db/repository/columns.h"
#include "db/repository/paging.h"
#include "db/repository/queue_rows.h"
#include "db/repository/queue_target_json.h"
#include "db/repository/request_log.h"
#include "db/repository/statements.h"
#include "db/repository/task_repository.h"
#include "db/repository/task_rows.h"
#include "db/repository/user_repository.h"

namespace parley::db {
namespace {

constexpr std::int32_t kUnblockBatch = 1000;

Queue DefaultQueue(absl::string_view name) {
  Queue queue;
  queue.name = std::string(name);
  return queue;
}

// All that InsertQueue and UpdateQueue write.
std::vector<Bind> QueueBinds(const Queue& queue) {
  const QueueSettings& settings = queue.settings;
  std::optional<std::string> rate;
  std::optional<std::int32_t> burst;
  if (settings.rate_limit) {
    rate = absl::StrFormat("%.17g", settings.rate_limit->rate);
    burst = settings.rate_limit->burst;
  }
  std::optional<std::string> target;
  if (settings.target) target = ToJson(*settings.target);
  return {{"name", queue.name},
          {"max_attempts", settings.max_attempts},
          {"retry", ToJson(settings.retry)},
          {"max_running", settings.max_running},
          {"max_running_per_key", settings.max_running_per_key},
          {"rate", rate},
          {"burst", burst},
          {"paused", queue.pause_time.has_value()},
          {"pause_note", queue.pause_note},
          {"target", target}};
}

absl::StatusOr<Queue> Read(Session& session, absl::string_view name) {
  PARLEY_ASSIGN_OR_RETURN(std::optional<Queue> queue,
                          session.QueryOptional<Queue>(sql::queue::GetQueue, {{"name", name}}));
  return queue ? *std::move(queue) : DefaultQueue(name);
}

bool Same(const Queue& a, const Queue& b) {
  return a.settings == b.settings && a.pause_time.has_value() == b.pause_time.has_value() &&
         a.pause_note == b.pause_note;
}

// Of a queue that has a row, or had none a moment ago; none: it has got one meanwhile.
absl::StatusOr<std::optional<Queue>> Write(Session& session, const Queue& queue) {
  return session.QueryOptional<Queue>(
      queue.version == 0 ? sql::queue::InsertQueue : sql::queue::UpdateQueue, QueueBinds(queue));
}

void Apply(const QueueChange& change, QueueSettings& settings) {
  if (change.max_attempts) settings.max_attempts = *change.max_attempts;
  if (change.retry) settings.retry = *change.retry;
  if (change.max_running) settings.max_running = *change.max_running;
  if (change.max_running_per_key) settings.max_running_per_key = *change.max_running_per_key;
  if (change.rate_limit) settings.rate_limit = *change.rate_limit;
  if (change.target) settings.target = *change.target;
}

}  // namespace

absl::StatusOr<Queue> QueueRepository::Create(const CreateParams& params, absl::Time deadline) {
  const RequestKey key{"CreateQueue", 0, params.request_id, params.fingerprint};
  return RunTransaction(
      pool_, deadline, LostCommitOf(key), [&](Session& session) -> absl::StatusOr<Queue> {
        // A queue is known by its name, which is part of the fingerprint.
        PARLEY_ASSIGN_OR_RETURN(const std::optional<std::int64_t> first,
                                ClaimRequest(session, key, /*resource_id=*/0));
        if (first) return Read(session, params.name);
        Queue queue = DefaultQueue(params.name);
        queue.settings = params.settings;
        PARLEY_ASSIGN_OR_RETURN(std::optional<Queue> created, Write(session, queue));
        if (created) return *std::move(created);
        return Error(absl::StatusCode::kAlreadyExists, reason::kQueueExists,
                     absl::StrCat("the queue ", params.name, " has settings"),
                     {{"queue", params.name}});
      });
}

absl::StatusOr<Queue> QueueRepository::Get(absl::string_view name, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) { return Read(session, name); });
}

absl::StatusOr<Page<Queue, std::string>> QueueRepository::List(const PageParams<std::string>& page,
                                                               absl::Time deadline) {
  using QueuePage = Page<Queue, std::string>;
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<QueuePage> {
    PARLEY_ASSIGN_OR_RETURN(
        std::vector<ListedQueueRow> rows,
        session.Query<ListedQueueRow>(sql::queue::ListQueues, {{"after", page.after.value_or("")},
                                                               {"offset", page.offset},
                                                               {"limit", page.limit + 1}}));
    std::vector<Queue> queues;
    queues.reserve(rows.size());
    for (ListedQueueRow& row : rows) queues.push_back(std::move(row.queue));
    return CutPage<std::string>(std::move(queues), page.limit,
                                [](const Queue& queue) { return queue.name; });
  });
}

absl::StatusOr<Queue> QueueRepository::Change(absl::string_view name, absl::Time deadline,
                                              const std::function<absl::Status(Queue&)>& change) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry, [&](Session& session) -> absl::StatusOr<Queue> {
        while (true) {
          PARLEY_ASSIGN_OR_RETURN(
              const std::optional<Queue> locked,
              session.QueryOptional<Queue>(sql::queue::LockQueue, {{"name", name}}));
          const Queue before = locked.value_or(DefaultQueue(name));
          Queue after = before;
          PARLEY_RETURN_IF_ERROR(change(after));
          if (Same(before, after)) return before;
          PARLEY_ASSIGN_OR_RETURN(std::optional<Queue> written, Write(session, after));
          // None: somebody else has made the row since; now there is one to lock.
          if (written) return *std::move(written);
        }
      });
}

absl::StatusOr<Queue> QueueRepository::Update(const UpdateParams& params, absl::Time deadline) {
  bool keys_are_free = false;
  absl::StatusOr<Queue> updated = Change(params.name, deadline, [&](Queue& queue) {
    if (params.version && *params.version != queue.version) return EtagMismatch();
    const bool had_limit = queue.settings.max_running_per_key != 0;
    Apply(params.change, queue.settings);
    keys_are_free = had_limit && queue.settings.max_running_per_key == 0;
    return absl::OkStatus();
  });
  // Not in the same transaction: there may be more than fit into the time for one. What fails here
  // is done by the reaper.
  while (updated.ok() && keys_are_free) {
    const absl::StatusOr<std::int64_t> count = UnblockTasks(kUnblockBatch, deadline);
    keys_are_free = count.ok() && *count == kUnblockBatch;
  }
  return updated;
}

absl::StatusOr<Queue> QueueRepository::Pause(absl::string_view name, const std::string& note,
                                             absl::Time deadline) {
  return Change(name, deadline, [&](Queue& queue) {
    // Which time it is, the statement knows.
    if (!queue.pause_time) queue.pause_time = absl::Now();
    queue.pause_note = note;
    return absl::OkStatus();
  });
}

absl::StatusOr<Queue> QueueRepository::Resume(absl::string_view name, absl::Time deadline) {
  return Change(name, deadline, [](Queue& queue) {
    queue.pause_time.reset();
    queue.pause_note.clear();
    return absl::OkStatus();
  });
}

absl::StatusOr<QueueStats> QueueRepository::GetStats(absl::string_view name, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<QueueStats> {
    PARLEY_ASSIGN_OR_RETURN(
        const std::optional<QueueStats> stats,
        session.QueryOptional<QueueStats>(sql::queue::GetQueueStats, {{"name", name}}));
    if (!stats) return InternalError("the counters of a queue have no sum");
    return *stats;
  });
}

absl::StatusOr<QueueRepository::Purged> QueueRepository::Purge(const PurgeParams& params,
                                                               absl::Time deadline) {
  return RunPurge(sql::queue::PurgeTasks, params, deadline);
}

absl::StatusOr<QueueRepository::Purged> QueueRepository::PurgeDead(const PurgeParams& params,
                                                                   absl::Time deadline) {
  return RunPurge(sql::queue::PurgeDeadTasks, params, deadline);
}

absl::StatusOr<QueueRepository::Purged> QueueRepository::RunPurge(const Statement& statement,
                                                                  const PurgeParams& params,
                                                                  absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry, [&](Session& session) -> absl::StatusOr<Purged> {
        PARLEY_ASSIGN_OR_RETURN(const std::vector<IdRow> removed,
                                session.Query<IdRow>(statement, {{"queue", params.name},
                                                                 {"after", params.after},
                                                                 {"up_to", params.up_to},
                                                                 {"max_tasks", params.max_tasks},
                                                                 {"max_bytes", kMaxMovedBytes}}));
        Purged purged;
        purged.count = static_cast<std::int64_t>(removed.size());
        for (const IdRow& row : removed) {
          purged.last_id = std::max(purged.last_id, row.id);
        }
        return purged;
      });
}

absl::StatusOr<std::int64_t> QueueRepository::GetLastTaskId(absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<std::int64_t> {
    PARLEY_ASSIGN_OR_RETURN(const std::optional<IdRow> row,
                            session.QueryOptional<IdRow>(sql::queue::GetLastTaskId, {}));
    if (!row) return InternalError("a sequence has no last value");
    return row->id;
  });
}

absl::StatusOr<std::int64_t> QueueRepository::UnblockTasks(std::int32_t max_tasks,
                                                           absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<std::int64_t> {
    PARLEY_ASSIGN_OR_RETURN(
        const std::vector<IdRow> freed,
        session.Query<IdRow>(sql::queue::UnblockTasks, {{"max_tasks", max_tasks}}));
    return static_cast<std::int64_t>(freed.size());
  });
}

absl::Status QueueRepository::FoldCounters(absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) {
    return session.Execute(sql::queue::FoldCounters, {}).status();
  });
}

}  // namespace parley::db
