#include "services/access/caller_limits.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/error.h"

namespace parley::access {
namespace {

using Place = absl::StatusOr<std::shared_ptr<void>>;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

std::string ReasonOf(const Place& place) { return DetailsOf(place.status()).reason; }

TEST(CallerLimits, CountWhatIsInFlightOfEachCaller) {
  CallerLimits limits({.calls = 2, .streams = 1, .rate = 0});
  const Place first = limits.Take("a", Scope::kChatRead, false, kNow);
  Place second = limits.Take("a", Scope::kChatWrite, false, kNow);
  ASSERT_TRUE(first.ok() && second.ok());
  const Place third = limits.Take("a", Scope::kChatRead, false, kNow);
  EXPECT_EQ(third.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(third), reason::kTooManyCalls);
  EXPECT_EQ(DetailsOf(third.status()).quota_subject, "caller:a");
  EXPECT_GT(DetailsOf(third.status()).retry_delay, absl::ZeroDuration());
  EXPECT_TRUE(limits.Take("b", Scope::kChatRead, false, kNow).ok());
  const Place stream = limits.Take("a", Scope::kChatRead, true, kNow);
  EXPECT_TRUE(stream.ok());
  EXPECT_EQ(ReasonOf(limits.Take("a", Scope::kChatRead, true, kNow)), reason::kTooManyStreams);
  second->reset();
  EXPECT_TRUE(limits.Take("a", Scope::kChatRead, false, kNow).ok());
}

TEST(CallerLimits, LetTheRateThroughAndTwoSecondsOfItAtOnce) {
  CallerLimits limits({.calls = 0, .streams = 0, .rate = 10});
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(limits.Take("a", Scope::kChatRead, false, kNow).ok()) << i;
  }
  const Place refused = limits.Take("a", Scope::kChatRead, false, kNow);
  EXPECT_EQ(ReasonOf(refused), reason::kRateLimited);
  EXPECT_EQ(DetailsOf(refused.status()).retry_delay, absl::Milliseconds(100));
  // Another scope, and another caller, have their own.
  EXPECT_TRUE(limits.Take("a", Scope::kChatWrite, false, kNow).ok());
  EXPECT_TRUE(limits.Take("b", Scope::kChatRead, false, kNow).ok());
  EXPECT_FALSE(limits.Take("a", Scope::kChatRead, false, kNow + absl::Milliseconds(99)).ok());
  EXPECT_TRUE(limits.Take("a", Scope::kChatRead, false, kNow + absl::Milliseconds(101)).ok());
  EXPECT_FALSE(limits.Take("a", Scope::kChatRead, false, kNow + absl::Milliseconds(102)).ok());
  // A clock that goes back gives nothing, and takes nothing for long.
  EXPECT_FALSE(limits.Take("a", Scope::kChatRead, false, kNow - absl::Hours(1)).ok());
  EXPECT_TRUE(limits.Take("a", Scope::kChatRead, false, kNow + absl::Seconds(1)).ok());
}

TEST(CallerLimits, ForgetCallersWhoHaveGoneAndNobodyElse) {
  CallerLimits limits({.calls = 1, .streams = 1, .rate = 1});
  const Place kept = limits.Take("kept", Scope::kChatRead, false, kNow);
  for (int i = 0; i < 25000; ++i) {
    ASSERT_TRUE(
        limits
            .Take(absl::StrCat("caller ", i), Scope::kChatRead, false, kNow + absl::Milliseconds(i))
            .ok());
  }
  EXPECT_EQ(ReasonOf(limits.Take("kept", Scope::kChatRead, false, kNow + absl::Hours(1))),
            reason::kTooManyCalls);
}

TEST(CallerLimits, AreExactWithManyThreads) {
  CallerLimits limits({.calls = 50, .streams = 0, .rate = 0});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&limits] {
      for (int k = 0; k < 2000; ++k) {
        std::vector<Place> places;
        for (int n = 0; n < 20; ++n) {
          places.push_back(limits.Take("a", Scope::kChatRead, false, kNow));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<Place> places;
  for (int i = 0; i < 50; ++i) places.push_back(limits.Take("a", Scope::kChatRead, false, kNow));
  EXPECT_TRUE(places.back().ok());
  EXPECT_FALSE(limits.Take("a", Scope::kChatRead, false, kNow).ok());
}

}  // namespace
}  // namespace parley::access
