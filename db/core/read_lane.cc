#include "db/core/read_lane.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/db_error.h"
#include "db/core/lane.h"

namespace parley::db {

ReadLane::ReadLane(Dsn dsn, Options options) : dsn_(std::move(dsn)), options_(options) {
  for (std::int32_t i = 0; i < options.connections; ++i) {
    threads_.emplace_back([this] { RunThread(); });
  }
}

ReadLane::~ReadLane() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    ready_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

void ReadLane::Submit(Read read) {
  {
    MutexLock lock(mutex_);
    if (!stopping_ && queue_.size() < options_.queue) {
      queue_.push_back(std::move(read));
      ready_.NotifyOne();
      return;
    }
  }
  read.done(LaneFull());
}

LaneView ReadLane::view() {
  return {.batch_sizes = batch_sizes_, .waiting = [this] {
            MutexLock lock(mutex_);
            return static_cast<double>(queue_.size());
          }};
}

std::vector<ReadLane::Read> ReadLane::Gather() {
  std::vector<Read> batch;
  MutexLock lock(mutex_);
  while (queue_.empty() && !stopping_) ready_.Wait(mutex_);
  while (!queue_.empty() && batch.size() < options_.batch) {
    batch.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  if (!batch.empty()) batch_sizes_.Observe(static_cast<double>(batch.size()));
  return batch;
}

void ReadLane::RunThread() {
  Connection connection;
  while (true) {
    std::vector<Read> batch = Gather();
    if (batch.empty()) return;
    const absl::Time now = SteadyNow();
    const auto alive = std::stable_partition(
        batch.begin(), batch.end(), [now](const Read& read) { return read.deadline > now; });
    for (auto read = alive; read != batch.end(); ++read) read->done(DeadlinePassed());
    batch.erase(alive, batch.end());
    if (!batch.empty()) RunBatch(connection, std::move(batch));
  }
}

absl::Status ReadLane::TryBatch(Connection& connection, std::vector<Read>& batch) const {
  PARLEY_RETURN_IF_ERROR(EnsureConnected(dsn_, HotOptions(), connection));
  std::vector<HotStep> steps;
  steps.reserve(batch.size());
  absl::Time deadline = absl::InfinitePast();
  for (const Read& read : batch) {
    steps.push_back(read.step);
    deadline = std::max(deadline, read.deadline);
  }
  std::size_t answered = 0;  // results come in the order of the steps
  absl::Status status = connection->Run(steps, deadline, [&](std::size_t step, HotResult result) {
    batch[step].done(std::move(result));
    answered = step + 1;
  });
  batch.erase(batch.begin(), batch.begin() + static_cast<std::ptrdiff_t>(answered));
  return status;
}

void ReadLane::RunBatch(Connection& connection, std::vector<Read> batch) {
  absl::Status status = TryBatch(connection, batch);
  if (batch.empty()) return;
  // Asked again one by one, each once: what failed may be one of them, or a connection that had
  // died.
  const bool lost = IsConnectionLost(status);
  for (Read& read : batch) {
    if (SteadyNow() >= read.deadline) {
      read.done(DeadlinePassed());
      continue;
    }
    std::vector<Read> alone;
    alone.push_back(std::move(read));
    // While the server cannot be reached nobody waits for one attempt after another.
    if (!(lost && connection == nullptr)) status = TryBatch(connection, alone);
    for (Read& failed : alone) failed.done(status);
  }
}

}  // namespace parley::db
