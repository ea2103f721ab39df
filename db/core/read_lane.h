// The hot lane for reads: many callers' statements in one pipeline.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "db/core/dsn.h"
#include "db/core/hot_connection.h"
#include "db/core/lane.h"

namespace parley::db {

// Gathers what callers ask while the connections are busy, and sends it together; who comes to an
// idle lane waits for nobody. A read that fails harms no other: the rest of its batch is asked
// again, one by one. A read whose connection is lost is asked once more on a new one.
//
// Thread-safe.
class ReadLane {
 public:
  struct Options {
    std::int32_t connections = 2;  // each with a thread
    std::size_t queue = 1000;      // how many reads may wait
    std::size_t batch = 16;        // how many reads go together at most
  };
  struct Read {
    HotStep step;
    absl::Time deadline;
    // Called once, on a thread of the lane's; it must not block.
    std::function<void(absl::StatusOr<HotResult>)> done;
  };

  ReadLane(Dsn dsn, Options options);
  ~ReadLane();  // what waits is answered with UNAVAILABLE

  ReadLane(const ReadLane&) = delete;
  ReadLane& operator=(const ReadLane&) = delete;

  // Answers through read.done: the rows; DEADLINE_EXCEEDED if its time came before it was sent;
  // UNAVAILABLE; RESOURCE_EXHAUSTED at once if the queue is full.
  void Submit(Read read);

  LaneView view();

 private:
  using Connection = std::unique_ptr<HotConnection>;

  void RunThread();
  std::vector<Read> Gather() ABSL_LOCKS_EXCLUDED(mutex_);  // empty: the lane is to end
  void RunBatch(Connection& connection, std::vector<Read> batch);
  // Whether all were answered; otherwise `batch` keeps those that were not.
  absl::Status TryBatch(Connection& connection, std::vector<Read>& batch) const;

  const Dsn dsn_;
  const Options options_;
  Histogram batch_sizes_{BatchSizeBounds()};
  Mutex mutex_;
  CondVar ready_;
  std::deque<Read> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;  // the last member: they use all others
};

}  // namespace parley::db
