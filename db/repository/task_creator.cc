#include "db/repository/task_creator.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "db/core/hot_connection.h"
#include "db/core/transaction.h"
#include "db/repository/request_log.h"
#include "db/repository/statements.h"
#include "db/repository/task_rows.h"

namespace parley::db {
namespace {

constexpr std::size_t kCreateBatch = 500;
// So much of a payload weighs as much as a task.
constexpr std::size_t kPayloadUnit = std::size_t{16} << 10;

struct CreateOp : MergeOp {
  void Fail(const absl::Status& status) override {
    TaskCreator::Outcomes outcomes(tasks.size(), status);
    for (const std::size_t index : in_doubt_tasks) {
      outcomes[index] = LostCommit(OnLostCommit::kInDoubt);
    }
    done(std::move(outcomes));
  }
  bool IsAbandoned() const override { return abandoned && abandoned(); }
  bool KeepRepeatable() override {
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      if (tasks[i].request_id.empty()) in_doubt_tasks.insert(i);
    }
    return in_doubt_tasks.size() < tasks.size();
  }

  std::vector<CreateTaskParams> tasks;
  std::set<std::size_t> in_doubt_tasks;  // which of them are not to be written (again)
  std::function<void(TaskCreator::Outcomes)> done;
  std::function<bool()> abandoned;
};

using OptionalText = std::optional<absl::string_view>;

// A column of the tasks to be inserted.
template <class Value, class Get>
std::vector<Value> Column(const std::vector<const CreateTaskParams*>& tasks, const Get& get) {
  std::vector<Value> values;
  values.reserve(tasks.size());
  for (const CreateTaskParams* params : tasks) values.push_back(get(*params));
  return values;
}

HotStep InsertStep(const std::vector<const CreateTaskParams*>& tasks,
                   const std::vector<std::string>& headers,
                   const std::vector<std::string>& options) {
  const auto text = [&](const auto& get) { return Column<OptionalText>(tasks, get); };
  const auto number = [&](const auto& get) { return Column<std::int64_t>(tasks, get); };
  const auto time = [&](const auto& get) { return Column<std::optional<absl::Time>>(tasks, get); };
  const auto none_if_empty = [](absl::string_view value) -> OptionalText {
    if (value.empty()) return std::nullopt;
    return value;
  };
  const auto remembered = [&](std::string CreateTaskParams::*member) {
    return text([member](const CreateTaskParams& params) -> OptionalText {
      if (params.request_id.empty()) return std::nullopt;
      return params.*member;
    });
  };
  using Params = CreateTaskParams;
  std::vector<OptionalText> optional_options;
  optional_options.reserve(options.size());
  for (const std::string& one : options) optional_options.push_back(none_if_empty(one));
  HotParams values;
  values.TextArray(text([](const Params& p) -> OptionalText { return p.task.queue; }))
      .TextArray(text([](const Params& p) -> OptionalText { return p.task.name; }))
      .ByteaArray(Column<absl::string_view>(
          tasks, [](const Params& p) { return absl::string_view(p.task.payload); }))
      .TextArray({headers.begin(), headers.end()})
      .TimestamptzArray(time([](const Params& p) { return p.task.run_time; }))
      .BigintArray(number([](const Params& p) { return absl::ToInt64Microseconds(p.task.delay); }))
      .TimestamptzArray(time([](const Params& p) { return p.task.expire_time; }))
      .BigintArray(number([](const Params& p) { return p.task.priority; }))
      .BigintArray(number([](const Params& p) { return p.task.max_attempts; }))
      .TextArray(optional_options)
      .TextArray(text([&](const Params& p) { return none_if_empty(p.task.concurrency_key); }))
      .TextArray(remembered(&CreateTaskParams::request_id))
      .TextArray(remembered(&CreateTaskParams::fingerprint));
  return {&sql::task_hot::InsertTasks, std::move(values)};
}

// The tasks of one transaction, and how they are told apart in its answer.
class CreateBatch {
 public:
  explicit CreateBatch(const std::vector<MergeOp*>& ops) : ops_(ops) {
    for (const MergeOp* op : ops) {
      const auto* create = static_cast<const CreateOp*>(op);
      for (std::size_t i = 0; i < create->tasks.size(); ++i) {
        if (!create->in_doubt_tasks.contains(i)) tasks_.push_back(&create->tasks[i]);
      }
    }
  }

  std::vector<HotStep> Steps() const {
    std::vector<std::string> headers;
    std::vector<std::string> options;
    headers.reserve(tasks_.size());
    options.reserve(tasks_.size());
    std::vector<OptionalText> request_ids;
    for (const CreateTaskParams* params : tasks_) {
      headers.push_back(params->task.headers.empty() ? "{}"
                                                     : nlohmann::json(params->task.headers).dump());
      options.push_back(TaskOptionsToJson(OptionsOf(params->task)));
      if (!params->request_id.empty()) request_ids.emplace_back(params->request_id);
    }
    std::vector<HotStep> steps = {InsertStep(tasks_, headers, options)};
    if (!request_ids.empty()) {
      steps.push_back({&sql::task_hot::FindTaskRequests, HotParams().TextArray(request_ids)});
    }
    return steps;
  }

  void Answer(const std::vector<HotResult>& results) {
    ReadRows(results);
    std::size_t place = 0;
    for (MergeOp* op : ops_) {
      auto* create = static_cast<CreateOp*>(op);
      TaskCreator::Outcomes outcomes;
      outcomes.reserve(create->tasks.size());
      for (std::size_t i = 0; i < create->tasks.size(); ++i) {
        outcomes.push_back(create->in_doubt_tasks.contains(i) ? LostCommit(OnLostCommit::kInDoubt)
                                                              : Outcome(create->tasks[i], place++));
      }
      create->done(std::move(outcomes));
    }
  }

 private:
  struct Request {
    std::int64_t task_id = 0;
    std::string fingerprint;
  };

  void ReadRows(const std::vector<HotResult>& results) {
    enum InsertColumn { kPlace, kId, kRunAt, kCreatedAt, kMaxAttempts };
    ids_.assign(tasks_.size(), 0);
    const HotResult& rows = results.front();
    for (int row = 0; row < rows.rows(); ++row) {
      const std::int64_t id = rows.Bigint(row, kId);
      const std::int64_t place = rows.Bigint(row, kPlace);
      if (place > 0) {
        ids_[static_cast<std::size_t>(place - 1)] = id;
      } else {
        created_[id] = {.id = id,
                        .run_time = rows.Timestamptz(row, kRunAt),
                        .create_time = rows.Timestamptz(row, kCreatedAt),
                        .max_attempts = rows.Integer(row, kMaxAttempts)};
      }
    }
    if (results.size() < 2) return;
    enum RequestColumn { kRequestId, kTaskId, kFingerprint };
    const HotResult& requests = results.back();
    for (int row = 0; row < requests.rows(); ++row) {
      requests_[std::string(requests.Text(row, kRequestId))] = {
          requests.Bigint(row, kTaskId), std::string(requests.Text(row, kFingerprint))};
    }
  }

  absl::StatusOr<CreatedTask> Outcome(const CreateTaskParams& params, std::size_t place) const {
    if (const auto created = created_.find(ids_[place]); created != created_.end()) {
      return created->second;
    }
    const auto earlier = requests_.find(params.request_id);
    if (earlier == requests_.end()) return InternalError("a task was neither created nor there");
    if (earlier->second.fingerprint != params.fingerprint) {
      return RequestIdReused(params.request_id);
    }
    return CreatedTask{.id = earlier->second.task_id, .is_new = false};
  }

  const std::vector<MergeOp*> ops_;
  std::vector<const CreateTaskParams*> tasks_;
  // What came back.
  std::vector<std::int64_t> ids_;  // by place
  std::unordered_map<std::int64_t, CreatedTask> created_;
  std::unordered_map<std::string, Request> requests_;
};

class CreateMerger final : public Merger {
 public:
  // Creating a task waits for nothing but a twin of its request, whom no lock tells of.
  MergedWrites Merge(const std::vector<MergeOp*>& ops, bool /*now_or_never*/) override {
    const auto batch = std::make_shared<CreateBatch>(ops);
    return {batch->Steps(),
            [batch](const std::vector<HotResult>& results) { batch->Answer(results); }};
  }
};

}  // namespace

TaskCreator::TaskCreator(Dsn dsn, const Options& options)
    : lane_(std::move(dsn), {.queue = options.queue, .batch = kCreateBatch},
            std::make_unique<CreateMerger>()) {}

void TaskCreator::Create(std::vector<CreateTaskParams> tasks, absl::Time deadline,
                         std::function<void(Outcomes)> done, std::function<bool()> is_abandoned) {
  auto op = std::make_unique<CreateOp>();
  op->weight = 0;
  for (const CreateTaskParams& params : tasks) {
    op->weight += 1 + params.task.payload.size() / kPayloadUnit;
  }
  op->deadline = deadline;
  op->tasks = std::move(tasks);
  op->done = std::move(done);
  op->abandoned = std::move(is_abandoned);
  lane_.Submit(std::move(op));
}

}  // namespace parley::db
