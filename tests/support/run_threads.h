// Runs something on many threads at once.
#pragma once

#include <latch>
#include <thread>
#include <vector>

namespace parley::testing {

// Calls work(0)..work(threads - 1), each on a thread of its own, all released together; returns
// when all have ended.
template <class Work>
void RunThreads(int threads, Work work) {
  std::latch start(threads);
  std::vector<std::thread> running;
  for (int i = 0; i < threads; ++i) {
    running.emplace_back([&start, &work, i] {
      start.arrive_and_wait();
      work(i);
    });
  }
  for (std::thread& thread : running) thread.join();
}

}  // namespace parley::testing
