#include "services/message/watch_token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "tests/support/status_matchers.h"

namespace parley::message {
namespace {

using parley::testing::IsOkAndHolds;
using parley::testing::Violates;

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

TEST(ResumeToken, GivesBackWhatItWasMadeOf) {
  for (const WatchPositions& positions : {
           WatchPositions{},
           WatchPositions{{1, {0, 0}}},
           WatchPositions{{1, {127, 128}}, {2, {0, 16384}}, {300, {kMax, kMax}}, {kMax, {1, 2}}},
       }) {
    for (const std::int64_t user_id : {std::int64_t{0}, std::int64_t{7}, kMax}) {
      EXPECT_THAT(DecodeResumeToken(user_id, EncodeResumeToken(user_id, positions)),
                  IsOkAndHolds(positions));
    }
  }
}

TEST(ResumeToken, HoldsTenThousandChatsInLittleSpace) {
  WatchPositions positions;
  for (std::size_t i = 1; i <= kMaxWatchedChats; ++i) {
    const auto chat_id = static_cast<std::int64_t>(1'000'000 + 37 * i);
    positions[chat_id] = {static_cast<std::int64_t>(1000 * i), static_cast<std::int64_t>(i)};
  }
  const std::string token = EncodeResumeToken(9, positions);
  EXPECT_LT(token.size(), 120'000U);
  EXPECT_THAT(DecodeResumeToken(9, token), IsOkAndHolds(positions));
  // No frame has one with more.
  positions[kMax] = {1, 1};
  EXPECT_THAT(DecodeResumeToken(9, EncodeResumeToken(9, positions)), Violates("resume_token"));
}

TEST(ResumeToken, BelongsToAUserOrToChats) {
  const std::string token = EncodeResumeToken(7, {{1, {2, 3}}});
  EXPECT_THAT(DecodeResumeToken(8, token), Violates("resume_token"));
  EXPECT_THAT(DecodeResumeToken(0, token), Violates("resume_token"));
}

TEST(ResumeToken, IsRefusedIfItIsNotOne) {
  const std::string token = EncodeResumeToken(7, {{1, {2, 3}}, {500, {70'000, 3}}});
  EXPECT_THAT(DecodeResumeToken(7, "!"), Violates("resume_token"));
  EXPECT_THAT(DecodeResumeToken(7, std::string("Q\0Q", 3)), Violates("resume_token"));
  // The last character's lowest bits may say nothing.
  for (std::size_t i = 0; i + 1 < token.size(); ++i) {
    EXPECT_THAT(DecodeResumeToken(7, token.substr(0, i)), Violates("resume_token")) << i;
    std::string other = token;
    other[i] = other[i] == 'A' ? 'B' : 'A';
    EXPECT_THAT(DecodeResumeToken(7, other), Violates("resume_token")) << i;
  }
}

}  // namespace
}  // namespace parley::message
