#include "services/runtime/executor.h"

#include <utility>

namespace parley::runtime {

Executor::Executor(Options options) : capacity_(options.queue) {
  threads_.reserve(options.threads);
  for (std::size_t i = 0; i < options.threads; ++i) threads_.emplace_back([this] { Run(); });
}

Executor::~Executor() { Stop(); }

bool Executor::Submit(std::function<void()> work) {
  MutexLock lock(mutex_);
  // An idle thread takes the work at once, so only what has none counts against the queue.
  if (stopping_ || queue_.size() >= capacity_ + idle_) return false;
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
