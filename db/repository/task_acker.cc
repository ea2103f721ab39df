#include "db/repository/task_acker.h"

#include <algorithm>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "db/core/hot_connection.h"
#include "db/repository/statements.h"

namespace parley::db {
namespace {

constexpr std::size_t kAckBatch = 1000;
// So much of a result weighs as much as an ack.
constexpr std::size_t kResultUnit = std::size_t{4} << 10;

// Of what AckTasks returns.
enum AckColumn { kAckedId, kAckedToken, kLimitedQueue };

struct AckOp : MergeOp {
  void Fail(const absl::Status& status) override { done(status); }
  bool KeepRepeatable() override { return true; }  // what the first time ended is found ended

  std::vector<TaskAck> acks;
  std::function<void(absl::StatusOr<std::vector<bool>>)> done;
};

HotStep AckStep(const std::vector<const TaskAck*>& acks) {
  std::vector<std::int64_t> ids;
  std::vector<absl::string_view> tokens;
  std::vector<absl::string_view> results;
  for (const TaskAck* ack : acks) {
    ids.push_back(ack->task_id);
    tokens.emplace_back(ack->token);
    results.emplace_back(ack->result);
  }
  return {&sql::task_hot::AckTasks,
          HotParams().BigintArray(ids).UuidArray(tokens).ByteaArray(results)};
}

// Tells who asked for it what the acks of `rows` have changed.
void Announce(const TaskAcker::Options& options, const HotResult& rows) {
  std::vector<std::int64_t> ended;
  ended.reserve(static_cast<std::size_t>(rows.rows()));
  std::set<absl::string_view> room;
  for (int row = 0; row < rows.rows(); ++row) {
    ended.push_back(rows.Bigint(row, kAckedId));
    if (!rows.IsNull(row, kLimitedQueue)) room.insert(rows.Text(row, kLimitedQueue));
  }
  if (!ended.empty()) options.on_ended(ended);
  for (const absl::string_view queue : room) options.on_room(queue);
}

void Answer(const std::vector<MergeOp*>& ops, const HotResult& rows) {
  std::unordered_map<std::int64_t, absl::string_view> ended;  // the tokens' 16 bytes
  for (int row = 0; row < rows.rows(); ++row) {
    ended[rows.Bigint(row, kAckedId)] = rows.Text(row, kAckedToken);
  }
  for (MergeOp* op : ops) {
    auto* ack_op = static_cast<AckOp*>(op);
    std::vector<bool> held;
    for (const TaskAck& ack : ack_op->acks) {
      const auto found = ended.find(ack.task_id);
      held.push_back(found != ended.end() && found->second == absl::HexStringToBytes(ack.token));
    }
    ack_op->done(std::move(held));
  }
}

class AckMerger final : public Merger {
 public:
  explicit AckMerger(TaskAcker::Options options) : options_(std::move(options)) {}

  MergedWrites Merge(const std::vector<MergeOp*>& ops, bool /*now_or_never*/) override {
    std::vector<const TaskAck*> acks;
    for (const MergeOp* op : ops) {
      for (const TaskAck& ack : static_cast<const AckOp*>(op)->acks) acks.push_back(&ack);
    }
    // Whoever changes many tasks does so in the order of their ids.
    std::stable_sort(acks.begin(), acks.end(),
                     [](const TaskAck* a, const TaskAck* b) { return a->task_id < b->task_id; });
    return {{AckStep(acks)}, [this, ops](const std::vector<HotResult>& results) {
              Announce(options_, results.front());
              Answer(ops, results.front());
            }};
  }

 private:
  const TaskAcker::Options options_;
};

}  // namespace

TaskAcker::TaskAcker(Dsn dsn, const Options& options)
    : lane_(std::move(dsn), {.queue = options.queue, .batch = kAckBatch},
            std::make_unique<AckMerger>(options)) {}

void TaskAcker::Ack(std::vector<TaskAck> acks, absl::Time deadline,
                    std::function<void(absl::StatusOr<std::vector<bool>>)> done) {
  auto op = std::make_unique<AckOp>();
  op->weight = 0;
  for (const TaskAck& ack : acks) op->weight += 1 + ack.result.size() / kResultUnit;
  op->deadline = deadline;
  op->acks = std::move(acks);
  op->done = std::move(done);
  lane_.Submit(std::move(op));
}

}  // namespace parley::db
