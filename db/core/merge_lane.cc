#include "db/core/merge_lane.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/db_error.h"
#include "db/core/lane.h"
#include "db/core/transaction.h"

namespace parley::db {
namespace {

// How often locks that others hold are asked for.
constexpr absl::Duration kParkedInterval = absl::Milliseconds(20);
// A server that works answers within the lock timeout. One that is only late must not leave a write
// in doubt, so its answer is waited for past the deadline; no longer than that, as it may be gone.
constexpr absl::Duration kAnswerGrace = absl::Seconds(1);

// SQLSTATE 55P03: somebody holds a lock for longer than the lane waits.
bool IsLockedByOthers(const absl::Status& status) {
  return status.code() == absl::StatusCode::kAborted && !IsRetryable(status);
}

absl::Status Expired(const MergeOp& op) {
  if (op.in_doubt) return LostCommit(OnLostCommit::kSafeToRetry);
  if (op.IsAbandoned()) {
    return Error(absl::StatusCode::kCancelled, reason::kCancelled, "the caller has left");
  }
  return DeadlinePassed();
}

bool Intersects(const std::vector<std::int64_t>& keys, const std::set<std::int64_t>& others) {
  return std::any_of(keys.begin(), keys.end(),
                     [&](std::int64_t key) { return others.contains(key); });
}

}  // namespace

MergeLane::MergeLane(Dsn dsn, Options options, std::unique_ptr<Merger> merger)
    : dsn_(std::move(dsn)),
      options_(options),
      merger_(std::move(merger)),
      thread_([this] { RunThread(); }) {}

MergeLane::~MergeLane() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    ready_.NotifyAll();
  }
  thread_.join();
}

void MergeLane::Submit(std::unique_ptr<MergeOp> op) {
  {
    MutexLock lock(mutex_);
    if (!stopping_ && waiting_ < options_.queue) {
      waiting_ += op->weight;
      queue_.push_back(std::move(op));
      ready_.NotifyOne();
      return;
    }
  }
  op->Fail(LaneFull());
}

LaneView MergeLane::view() {
  return {.batch_sizes = batch_sizes_, .waiting = [this] {
            MutexLock lock(mutex_);
            return static_cast<double>(waiting_);
          }};
}

bool MergeLane::Gather(Ops& batch) {
  MutexLock lock(mutex_);
  while (queue_.empty() && !stopping_ && SteadyNow() < try_parked_at_) {
    ready_.WaitUntil(mutex_, try_parked_at_);
  }
  std::size_t rows = 0;
  while (!queue_.empty() && (rows == 0 || rows + queue_.front()->weight <= options_.batch)) {
    rows += queue_.front()->weight;
    batch.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  waiting_ -= rows;
  if (rows > 0) batch_sizes_.Observe(static_cast<double>(rows));
  return !stopping_ || !batch.empty();
}

void MergeLane::RunThread() {
  while (true) {
    if (QueueIsEmpty()) AnswerCommitted();
    Ops batch;
    if (!Gather(batch)) break;
    RunBatch(std::move(batch));
    if (SteadyNow() >= try_parked_at_) TryParked();
  }
  for (std::unique_ptr<MergeOp>& op : parked_) {
    op->Fail(op->in_doubt ? LostCommit(OnLostCommit::kSafeToRetry)
                          : Error(absl::StatusCode::kUnavailable, reason::kDraining,
                                  "the server is going down; try another"));
  }
}

void MergeLane::RunBatch(Ops batch, bool now_or_never) {
  bool renewed = false;
  while (true) {
    FailExpired(batch);
    ParkBehindParked(batch);
    if (batch.empty()) return;
    const Attempt attempt = TryBatch(batch, now_or_never);
    if (attempt.status.ok()) return;
    const bool connected = connection_ != nullptr;
    // Others hold a lock: the halves are not to wait for it one after another.
    now_or_never = now_or_never || IsLockedByOthers(attempt.status);
    if (connected && connection_->refused() && !connection_->usable() &&
        !std::exchange(renewed, true)) {
      continue;  // what was prepared was stale, or the server is not the right one any more
    }
    if (!connected || IsConnectionLost(attempt.status)) {
      FailLost(batch, attempt);
    } else if (IsRetryable(attempt.status)) {
      PauseBeforeRetry();
    } else if (batch.size() > 1) {
      const auto middle = batch.begin() + static_cast<std::ptrdiff_t>(batch.size() / 2);
      Ops second(std::make_move_iterator(middle), std::make_move_iterator(batch.end()));
      batch.erase(middle, batch.end());
      RunBatch(std::move(batch), now_or_never);
      batch = std::move(second);
    } else if (IsLockedByOthers(attempt.status)) {
      return Park(std::move(batch.front()));
    } else {
      return batch.front()->Fail(attempt.status);
    }
  }
}

absl::Status MergeLane::Connect() {
  const bool connected =
      connection_ != nullptr && connection_->usable() && connection_->LooksAlive();
  if (connected) return absl::OkStatus();
  AnswerCommitted();  // connecting may take its time
  return EnsureConnected(dsn_, {.lock_timeout = options_.lock_timeout}, connection_);
}

bool MergeLane::QueueIsEmpty() {
  MutexLock lock(mutex_);
  return queue_.empty();
}

void MergeLane::AnswerCommitted() {
  if (!committed_) return;
  committed_->writes.answer(committed_->results);
  committed_.reset();
}

MergeLane::Attempt MergeLane::TryBatch(Ops& batch, bool now_or_never) {
  if (absl::Status connected = Connect(); !connected.ok()) return {connected};
  std::vector<MergeOp*> ops;
  absl::Time deadline = absl::InfinitePast();
  for (const std::unique_ptr<MergeOp>& op : batch) {
    ops.push_back(op.get());
    deadline = std::max(deadline, op->deadline);
  }
  MergedWrites writes = merger_->Merge(ops, now_or_never);
  std::vector<HotResult> results(writes.steps.size());
  absl::Status status = connection_->Send(writes.steps, deadline + kAnswerGrace);
  AnswerCommitted();  // those before; the server is at work meanwhile
  if (status.ok()) {
    status = connection_->Receive(
        writes.steps, deadline + kAnswerGrace,
        [&](std::size_t step, HotResult result) { results[step] = std::move(result); });
  }
  if (status.ok()) committed_ = {std::move(batch), std::move(writes), std::move(results)};
  return {std::move(status), /*sent=*/!connection_->refused()};
}

void MergeLane::FailExpired(Ops& batch) {
  const absl::Time now = SteadyNow();
  std::erase_if(batch, [now](const std::unique_ptr<MergeOp>& op) {
    if (op->deadline > now && !op->IsAbandoned()) return false;
    op->Fail(Expired(*op));
    return true;
  });
}

void MergeLane::FailLost(Ops& batch, const Attempt& attempt) {
  std::erase_if(batch, [&](const std::unique_ptr<MergeOp>& op) {
    if (!attempt.sent) {  // there is no server to be had
      op->Fail(op->in_doubt ? LostCommit(OnLostCommit::kSafeToRetry) : attempt.status);
      return true;
    }
    const bool again = std::exchange(op->in_doubt, true);
    if (!again && op->KeepRepeatable()) return false;
    op->Fail(LostCommit(again ? OnLostCommit::kSafeToRetry : OnLostCommit::kInDoubt));
    return true;
  });
}

void MergeLane::Park(std::unique_ptr<MergeOp> op) {
  {
    MutexLock lock(mutex_);
    waiting_ += op->weight;
  }
  parked_.push_back(std::move(op));
  try_parked_at_ = std::min(try_parked_at_, SteadyNow() + kParkedInterval);
}

void MergeLane::ParkBehindParked(Ops& batch) {
  if (parked_.empty()) return;
  std::set<std::int64_t> keys;
  for (const std::unique_ptr<MergeOp>& op : parked_) {
    keys.insert(op->keys.begin(), op->keys.end());
  }
  std::erase_if(batch, [&](std::unique_ptr<MergeOp>& op) {
    if (!Intersects(op->keys, keys)) return false;
    keys.insert(op->keys.begin(), op->keys.end());
    Park(std::move(op));
    return true;
  });
}

void MergeLane::TryParked() {
  Ops parked = std::exchange(parked_, {});
  try_parked_at_ = absl::InfiniteFuture();
  {
    MutexLock lock(mutex_);
    for (const std::unique_ptr<MergeOp>& op : parked) waiting_ -= op->weight;
  }
  FailExpired(parked);
  std::set<std::int64_t> locked;  // by others
  std::set<std::int64_t> freed;
  Ops free;
  bool lost = false;  // the connection; then what is left is for RunBatch
  for (std::unique_ptr<MergeOp>& op : parked) {
    if (lost) {
      free.push_back(std::move(op));
      continue;
    }
    const bool behind = Intersects(op->keys, locked);
    if (!behind && !Intersects(op->keys, freed)) {
      // One write asks for the locks; those behind it follow together.
      Ops alone;
      alone.push_back(std::move(op));
      const std::vector<std::int64_t> keys = alone.front()->keys;
      const Attempt attempt = TryBatch(alone, /*now_or_never=*/true);
      if (attempt.status.ok()) {
        freed.insert(keys.begin(), keys.end());
        continue;
      }
      op = std::move(alone.front());
      if (!IsLockedByOthers(attempt.status)) {
        alone.front() = std::move(op);
        lost = connection_ == nullptr || IsConnectionLost(attempt.status);
        if (lost) FailLost(alone, attempt);
        // RunBatch knows what to do about the rest.
        freed.insert(keys.begin(), keys.end());
        if (!alone.empty()) free.push_back(std::move(alone.front()));
        continue;
      }
    }
    if (behind || !Intersects(op->keys, freed)) {
      locked.insert(op->keys.begin(), op->keys.end());
      Park(std::move(op));
    } else {
      freed.insert(op->keys.begin(), op->keys.end());
      free.push_back(std::move(op));
    }
  }
  RunBatch(std::move(free));
}

void MergeLane::PauseBeforeRetry() {
  std::this_thread::sleep_for(std::chrono::microseconds(absl::Uniform(random_, 1000, 10'000)));
}

}  // namespace parley::db
