#include "db/repository/keyed_task_creator.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/session.h"
#include "db/core/transaction.h"
#include "db/repository/columns.h"
#include "db/repository/request_log.h"
#include "db/repository/statements.h"
#include "db/repository/task_key_rows.h"
#include "db/repository/task_rows.h"

namespace parley::db {
namespace {

void AddTime(const char* name, const std::optional<absl::Time>& time, nlohmann::json& json) {
  if (!time) return;
  constexpr std::int64_t kMicros = 1'000'000;
  const std::int64_t seconds = absl::ToUnixSeconds(*time);
  json[absl::StrCat(name, "_s")] = seconds;
  json[absl::StrCat(name, "_us")] = absl::ToUnixMicros(*time) - seconds * kMicros;
}

// One of what the fragment TasksOfJson reads.
nlohmann::json NewTaskToJson(std::int64_t id, const NewTask& task) {
  nlohmann::json json = {{"id", id},
                         {"queue", task.queue},
                         {"name", task.name},
                         {"payload", absl::BytesToHexString(task.payload)},
                         {"headers", nlohmann::json(task.headers)},
                         {"delay_us", absl::ToInt64Microseconds(task.delay)},
                         {"priority", task.priority},
                         {"max_attempts", task.max_attempts}};
  AddTime("run_at", task.run_time, json);
  AddTime("expires_at", task.expire_time, json);
  const std::string options = TaskOptionsToJson(OptionsOf(task));
  if (!options.empty()) json["options"] = nlohmann::json::parse(options);
  if (!task.concurrency_key.empty()) json["concurrency_key"] = task.concurrency_key;
  return json;
}

absl::Status KeyTaken(std::int64_t holder) {
  return Error(absl::StatusCode::kAlreadyExists, reason::kDedupeKeyTaken,
               absl::StrCat("task ", holder, " has the dedupe_key"),
               {{"task_id", absl::StrCat(holder)}});
}

// The tasks of one transaction.
class KeyedBatch {
 public:
  KeyedBatch(Session& session, const std::vector<CreateTaskParams>& tasks)
      : session_(session), tasks_(tasks), outcomes_(tasks.size(), InternalError("not settled")) {}

  absl::StatusOr<TaskCreator::Outcomes> Run() {
    PARLEY_RETURN_IF_ERROR(session_.Command("SET LOCAL lock_timeout = '1s'"));
    PARLEY_ASSIGN_OR_RETURN(
        const std::vector<IdRow> ids,
        session_.Query<IdRow>(sql::task_key::NextTaskIds,
                              {{"count", static_cast<std::int64_t>(tasks_.size())}}));
    for (const IdRow& row : ids) ids_.push_back(row.id);
    PARLEY_RETURN_IF_ERROR(ClaimRequests());
    // Of tasks with the same key, the first goes first; the next finds what has become of it.
    while (!waiting_.empty()) PARLEY_RETURN_IF_ERROR(RunRound());
    PARLEY_RETURN_IF_ERROR(SettleRequests());
    return std::move(outcomes_);
  }

 private:
  using Index = std::size_t;  // of tasks_

  // Answers those whose requests came before; the others wait to be done.
  absl::Status ClaimRequests() {
    std::vector<std::string> request_ids, fingerprints;
    std::vector<std::int64_t> ids;
    for (Index i = 0; i < tasks_.size(); ++i) {
      if (tasks_[i].request_id.empty()) continue;
      request_ids.push_back(tasks_[i].request_id);
      fingerprints.push_back(tasks_[i].fingerprint);
      ids.push_back(ids_[i]);
    }
    std::set<std::int64_t> claimed;
    if (!ids.empty()) {
      PARLEY_ASSIGN_OR_RETURN(const std::vector<IdRow> rows,
                              session_.Query<IdRow>(sql::task_key::ClaimRequests,
                                                    {{"request_ids", ArrayLiteral(request_ids)},
                                                     {"fingerprints", ArrayLiteral(fingerprints)},
                                                     {"ids", ArrayLiteral(ids)}}));
      for (const IdRow& row : rows) claimed.insert(row.id);
    }
    std::vector<Index> repeated;
    for (Index i = 0; i < tasks_.size(); ++i) {
      const std::string& request_id = tasks_[i].request_id;
      if (request_id.empty() || claimed.contains(ids_[i])) {
        if (!request_id.empty()) claims_[request_id] = i;
        waiting_.push_back(i);
      } else {
        repeated.push_back(i);
      }
    }
    return AnswerRepeated(repeated);
  }

  absl::Status AnswerRepeated(const std::vector<Index>& repeated) {
    std::vector<std::string> request_ids;
    for (const Index i : repeated) {
      const auto twin = claims_.find(tasks_[i].request_id);
      if (twin == claims_.end()) {
        request_ids.push_back(tasks_[i].request_id);
      } else {
        twins_.emplace_back(i, twin->second);
      }
    }
    if (request_ids.empty()) return absl::OkStatus();
    PARLEY_ASSIGN_OR_RETURN(
        const std::vector<EarlierRequestRow> rows,
        session_.Query<EarlierRequestRow>(sql::task_key::FindRequests,
                                          {{"request_ids", ArrayLiteral(request_ids)}}));
    std::map<std::string, EarlierRequestRow> earlier;
    for (const EarlierRequestRow& row : rows) earlier[row.request_id] = row;
    for (const Index i : repeated) {
      const auto found = earlier.find(tasks_[i].request_id);
      if (found == earlier.end()) continue;
      outcomes_[i] = AsBefore(i, found->second.fingerprint, Settled(found->second.task_id));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<CreatedTask> AsBefore(Index i, const std::string& fingerprint,
                                       absl::StatusOr<CreatedTask> outcome) const {
    if (fingerprint != tasks_[i].fingerprint) return RequestIdReused(tasks_[i].request_id);
    return outcome;
  }

  static CreatedTask Settled(std::int64_t id) { return {.id = id, .is_new = false}; }

  // All that wait, but for those behind another with the same key.
  absl::Status RunRound() {
    std::vector<Index> keyed, later;
    nlohmann::json to_insert = nlohmann::json::array();
    std::set<std::pair<std::string, std::string>> keys;
    for (const Index i : waiting_) {
      const NewTask& task = tasks_[i].task;
      if (!task.dedupe) {
        to_insert.push_back(NewTaskToJson(ids_[i], task));
        outcomes_[i] = Settled(ids_[i]);
      } else if (keys.emplace(task.queue, task.dedupe->key).second) {
        keyed.push_back(i);
      } else {
        later.push_back(i);
      }
    }
    waiting_ = std::move(later);
    nlohmann::json to_replace = nlohmann::json::array();
    PARLEY_RETURN_IF_ERROR(TakeKeys(keyed, to_insert, to_replace));
    PARLEY_RETURN_IF_ERROR(Write(sql::task_key::InsertTasks, to_insert));
    return Write(sql::task_key::ReplaceTasks, to_replace);
  }

  absl::Status TakeKeys(const std::vector<Index>& keyed, nlohmann::json& to_insert,
                        nlohmann::json& to_replace) {
    if (keyed.empty()) return absl::OkStatus();
    std::vector<std::int64_t> ids, windows_us;
    std::vector<std::string> queues, keys, policies;
    std::map<std::int64_t, Index> by_id;
    for (const Index i : keyed) {
      const NewTask& task = tasks_[i].task;
      ids.push_back(ids_[i]);
      queues.push_back(task.queue);
      keys.push_back(task.dedupe->key);
      policies.emplace_back(ToLabel(task.dedupe->policy));
      windows_us.push_back(absl::ToInt64Microseconds(task.dedupe->window));
      by_id[ids_[i]] = i;
    }
    PARLEY_ASSIGN_OR_RETURN(
        const std::vector<TakenKeyRow> rows,
        session_.Query<TakenKeyRow>(sql::task_key::TakeKeys,
                                    {{"ids", ArrayLiteral(ids)},
                                     {"queues", ArrayLiteral(queues)},
                                     {"keys", ArrayLiteral(keys)},
                                     {"policies", ArrayLiteral(policies)},
                                     {"windows_us", ArrayLiteral(windows_us)}}));
    for (const TakenKeyRow& row : rows) {
      const Index i = by_id.at(row.id);
      if (row.outcome == "taken") {
        outcomes_[i] = KeyTaken(row.holder);
        continue;
      }
      outcomes_[i] = Settled(row.holder);
      if (row.outcome == "kept") continue;
      (row.outcome == "new" ? to_insert : to_replace)
          .push_back(NewTaskToJson(row.holder, tasks_[i].task));
    }
    return absl::OkStatus();
  }

  absl::Status Write(const Statement& statement, const nlohmann::json& tasks) {
    if (tasks.empty()) return absl::OkStatus();
    PARLEY_ASSIGN_OR_RETURN(const std::vector<IdRow> written,
                            session_.Query<IdRow>(statement, {{"tasks", tasks.dump()}}));
    if (written.size() == tasks.size()) return absl::OkStatus();
    return InternalError("tasks were not written");
  }

  // A request that was refused is not remembered; one that led to another's task leads there.
  absl::Status SettleRequests() {
    std::vector<std::string> refused, pointed;
    std::vector<std::int64_t> task_ids;
    for (const auto& [request_id, i] : claims_) {
      if (!outcomes_[i].ok()) {
        refused.push_back(request_id);
      } else if (outcomes_[i]->id != ids_[i]) {
        pointed.push_back(request_id);
        task_ids.push_back(outcomes_[i]->id);
      }
    }
    for (const auto& [twin, first] : twins_) {
      outcomes_[twin] = AsBefore(twin, tasks_[first].fingerprint, outcomes_[first]);
    }
    if (!refused.empty()) {
      PARLEY_RETURN_IF_ERROR(
          session_.Execute(sql::task_key::ForgetRequests, {{"request_ids", ArrayLiteral(refused)}})
              .status());
    }
    if (pointed.empty()) return absl::OkStatus();
    return session_
        .Execute(sql::task_key::PointRequests,
                 {{"request_ids", ArrayLiteral(pointed)}, {"task_ids", ArrayLiteral(task_ids)}})
        .status();
  }

  Session& session_;
  const std::vector<CreateTaskParams>& tasks_;
  TaskCreator::Outcomes outcomes_;
  std::vector<std::int64_t> ids_;               // for tasks_, if they become new ones
  std::map<std::string, Index> claims_;         // by request id, who came first
  std::vector<std::pair<Index, Index>> twins_;  // of one request: whoever came later, and first
  std::vector<Index> waiting_;                  // in their order
};

}  // namespace

TaskCreator::Outcomes KeyedTaskCreator::Create(const std::vector<CreateTaskParams>& tasks,
                                               absl::Time deadline) {
  absl::StatusOr<TaskCreator::Outcomes> outcomes =
      RunTransaction(pool_, deadline, OnLostCommit::kInDoubt,
                     [&](Session& session) { return KeyedBatch(session, tasks).Run(); });
  if (outcomes.ok()) return *std::move(outcomes);
  TaskCreator::Outcomes failed(tasks.size(), outcomes.status());
  if (DetailsOf(outcomes.status()).reason != reason::kCommitInDoubt) return failed;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    if (!tasks[i].request_id.empty()) failed[i] = LostCommit(OnLostCommit::kSafeToRetry);
  }
  return failed;
}

absl::StatusOr<Task> KeyedTaskCreator::CreateOne(const CreateTaskParams& params,
                                                 absl::Time deadline) {
  const std::vector<CreateTaskParams> tasks = {params};
  return RunTransaction(
      pool_, deadline,
      params.request_id.empty() ? OnLostCommit::kInDoubt : OnLostCommit::kSafeToRetry,
      [&](Session& session) -> absl::StatusOr<Task> {
        PARLEY_ASSIGN_OR_RETURN(const TaskCreator::Outcomes outcomes,
                                KeyedBatch(session, tasks).Run());
        PARLEY_RETURN_IF_ERROR(outcomes.front().status());
        return ReadTask(session, outcomes.front()->id);
      });
}

}  // namespace parley::db
