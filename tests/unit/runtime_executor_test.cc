#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <vector>

#include "services/runtime/executor.h"

namespace parley::runtime {
namespace {

TEST(Executor, RunsEverythingThatWasSubmittedBeforeItStops) {
  std::atomic<int> ran{0};
  {
    Executor executor({.threads = 4, .queue = 1000});
    for (int i = 0; i < 500; ++i) {
      ASSERT_TRUE(executor.Submit([&ran] { ++ran; }));
    }
  }
  EXPECT_EQ(ran, 500);
}

TEST(Executor, RefusesWorkBeyondItsThreadsAndItsQueue) {
  std::promise<void> started;
  std::promise<void> gate;
  Executor executor({.threads = 1, .queue = 2});  // ends before what its work refers to
  ASSERT_TRUE(executor.Submit([&] {
    started.set_value();
    gate.get_future().wait();
  }));
  started.get_future().wait();
  EXPECT_TRUE(executor.Submit([] {}));
  EXPECT_TRUE(executor.Submit([] {}));
  EXPECT_FALSE(executor.Submit([] {}));
  gate.set_value();
}

TEST(Executor, WithoutAQueueStillFillsItsThreads) {
  std::promise<void> gate;
  std::shared_future<void> opened = gate.get_future().share();
  std::atomic<int> started{0};
  Executor executor({.threads = 2, .queue = 0});
  int accepted = 0;
  // The threads may not have come up yet; then the work is refused and offered again.
  while (accepted < 2) {
    if (executor.Submit([&started, opened] {
          ++started;
          opened.wait();
        })) {
      ++accepted;
    }
  }
  while (started < 2) std::this_thread::yield();
  EXPECT_FALSE(executor.Submit([] {}));
  gate.set_value();
}

TEST(Executor, TakesNothingAfterStop) {
  Executor executor({.threads = 1, .queue = 10});
  executor.Stop();
  EXPECT_FALSE(executor.Submit([] { FAIL() << "ran after Stop"; }));
}

}  // namespace
}  // namespace parley::runtime
