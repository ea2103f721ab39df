// Threads that may block, and a bounded queue in front of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "services/runtime/metrics.h"

namespace parley::runtime {

// Runs what is submitted on a fixed number of threads, first come first served. gRPC's own threads
// are as few as the cores; whatever waits for the database runs here. Thread-safe.
class Executor {
 public:
  struct Options {
    std::size_t threads = 4;
    std::size_t queue = 200;  // how much may wait beyond what runs
  };

  explicit Executor(Options options);
  ~Executor();  // Stop()

  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // False, and `work` is not run, if the queue is full or Stop() was called. `work` must not throw.
  [[nodiscard]] bool Submit(std::function<void()> work);

  // Runs what is queued, then ends the threads. Idempotent.
  void Stop();

  // What it does at the moment, and has refused so far.
  struct Load {
    std::size_t threads = 0;
    std::size_t busy = 0;
    std::size_t queued = 0;
    std::uint64_t refused = 0;
  };
  Load load();

  // Adds parley_executor_*, with `name` as the label "executor".
  void AddTo(Metrics& metrics, const std::string& name);

 private:
  void Run();

  const std::size_t threads_count_;
  const std::size_t capacity_;
  Mutex mutex_;
  CondVar ready_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  std::size_t idle_ ABSL_GUARDED_BY(mutex_) = 0;  // threads that wait for work
  std::uint64_t refused_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;  // constant after construction, until Stop()
};

}  // namespace parley::runtime
