#include "services/runtime/executor.h"

#include <utility>

namespace parley::runtime {

Executor::Executor(Options options) : threads_count_(options.threads), capacity_(options.queue) {
  threads_.reserve(options.threads);
  for (std::size_t i = 0; i < options.threads; ++i) threads_.emplace_back([this] { Run(); });
}

Executor::~Executor() { Stop(); }

bool Executor::Submit(std::function<void()> work) {
  MutexLock lock(mutex_);
  // An idle thread takes the work at once, so only what has none counts against the queue.
  if (stopping_ || queue_.size() >= capacity_ + idle_) {
    ++refused_;
    return false;
  }
  queue_.push_back(std::move(work));
  ready_.NotifyOne();
  return true;
}

void Executor::Stop() {
  {
    MutexLock lock(mutex_);
    if (std::exchange(stopping_, true)) return;
    ready_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

Executor::Load Executor::load() {
  MutexLock lock(mutex_);
  return {.threads = threads_count_,
          .busy = threads_count_ - idle_,
          .queued = queue_.size(),
          .refused = refused_};
}

void Executor::AddTo(Metrics& metrics, const std::string& name) {
  const Metrics::Labels labels = {{"executor", name}};
  metrics.AddGauge({"parley_executor_threads", "Threads that calls run on.", labels},
                   [this] { return static_cast<double>(load().threads); });
  metrics.AddGauge({"parley_executor_busy_threads", "Of these, those at work.", labels},
                   [this] { return static_cast<double>(load().busy); });
  metrics.AddGauge({"parley_executor_queue_length", "Calls that wait for a thread.", labels},
                   [this] { return static_cast<double>(load().queued); });
  metrics.AddCounter({"parley_executor_refused_total",
                      "Calls that were refused because the queue was full.", labels},
                     [this] { return static_cast<double>(load().refused); });
}

void Executor::Run() {
  while (true) {
    std::function<void()> work;
    {
      MutexLock lock(mutex_);
      ++idle_;
      while (queue_.empty() && !stopping_) ready_.Wait(mutex_);
      --idle_;
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace parley::runtime
