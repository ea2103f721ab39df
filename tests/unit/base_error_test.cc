#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace parley {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(Error, CarriesReasonMetadataAndRetryDelay) {
  const absl::Status status =
      WithRetryDelay(Error(absl::StatusCode::kNotFound, reason::kUserNotFound, "user 7",
                           {{"user_id", "7"}, {"chat_id", "9"}}),
                     absl::Milliseconds(250));
  const ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(details.reason, "USER_NOT_FOUND");
  EXPECT_THAT(details.metadata, ElementsAre(Pair("chat_id", "9"), Pair("user_id", "7")));
  EXPECT_EQ(details.retry_delay, absl::Milliseconds(250));
}

TEST(Error, OfAPlainStatusHasNoDetails) {
  const ErrorDetails details = DetailsOf(absl::InternalError("x"));
  EXPECT_EQ(details.reason, "");
  EXPECT_THAT(details.violations, IsEmpty());
  EXPECT_FALSE(details.retry_delay.has_value());
}

TEST(Violations, AreOkWhenThereAreNone) { EXPECT_TRUE(Violations().ToStatus().ok()); }

TEST(Violations, KeepTheOrderInWhichTheyWereAdded) {
  Violations violations;
  std::vector<std::pair<std::string, std::string>> added;
  for (int i = 0; i < 12; ++i) {
    added.emplace_back("user_ids[" + std::to_string(11 - i) + "]", "must be positive");
    violations.Add(added.back().first, added.back().second);
  }
  EXPECT_EQ(violations.ToStatus().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailsOf(violations.ToStatus()).violations, added);
}

TEST(Violations, KeepTheFirstHundredOfAnyNumber) {
  Violations violations;
  for (int i = 0; i < 300'000; ++i) violations.Add("queues", "is wrong");
  EXPECT_EQ(DetailsOf(violations.ToStatus()).violations.size(), 100u);
}

TEST(Violations, OfOneFieldTwiceAreBothKept) {
  Violations violations;
  violations.Add("text", "must be valid UTF-8");
  violations.Add("text", "must not be empty");
  EXPECT_THAT(DetailsOf(violations.ToStatus()).violations,
              ElementsAre(Pair("text", "must be valid UTF-8"), Pair("text", "must not be empty")));
}

}  // namespace
}  // namespace parley
