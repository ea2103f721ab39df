#include "services/chat/chat_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "services/chat/user_rules.h"
#include "tests/support/status_matchers.h"

namespace parley::chat {
namespace {

using parley::testing::Violates;
using ::testing::ElementsAre;

TEST(FirstMembers, HoldTheCreatorAndEachUserOnce) {
  Violations violations;
  EXPECT_THAT(FirstMembers(5, {9, 2, 9, 5}, violations), ElementsAre(2, 5, 9));
  EXPECT_TRUE(violations.empty());
}

TEST(FirstMembers, NameEveryIdThatIsNotPositive) {
  Violations violations;
  FirstMembers(5, {1, 0, -3}, violations);
  EXPECT_THAT(violations.ToStatus(), Violates("user_ids[1]"));
  EXPECT_THAT(violations.ToStatus(), Violates("user_ids[2]"));
}

TEST(FirstMembers, AreAtMostAThousand) {
  Violations violations;
  FirstMembers(1, std::vector<std::int64_t>(1000, 1), violations);
  EXPECT_TRUE(violations.empty());
  FirstMembers(1, std::vector<std::int64_t>(1001, 1), violations);
  EXPECT_THAT(violations.ToStatus(), Violates("user_ids"));
}

TEST(CheckTitle, IsOneTo256Characters) {
  Violations violations;
  CheckTitle("title", std::string(256, 'x'), violations);
  CheckDescription("description", std::string(512, 'x'), violations);
  CheckDescription("description", "", violations);
  EXPECT_TRUE(violations.empty());
  CheckTitle("title", "", violations);
  CheckDescription("description", std::string(513, 'x'), violations);
  EXPECT_THAT(violations.ToStatus(), Violates("title"));
  EXPECT_THAT(violations.ToStatus(), Violates("description"));
}

TEST(CheckRetention, WantsAMinuteToAHundredYears) {
  Violations right;
  CheckRetention("r", absl::Minutes(1), right);
  CheckRetention("r", absl::Hours(24 * 36'525), right);
  EXPECT_TRUE(right.empty());
  for (const absl::Duration wrong :
       {absl::Minutes(1) - absl::Nanoseconds(1), absl::ZeroDuration(), -absl::Hours(1),
        absl::Hours(24 * 36'525) + absl::Nanoseconds(1)}) {
    Violations violations;
    CheckRetention("r", wrong, violations);
    EXPECT_THAT(violations.ToStatus(), Violates("r")) << wrong;
  }
}

TEST(CheckIds, WantsOneTo100PositiveIds) {
  Violations none;
  CheckIds("user_ids", {}, none);
  EXPECT_THAT(none.ToStatus(), Violates("user_ids"));
  Violations many;
  CheckIds("user_ids", std::vector<std::int64_t>(101, 1), many);
  EXPECT_THAT(many.ToStatus(), Violates("user_ids"));
  Violations right;
  CheckIds("user_ids", std::vector<std::int64_t>(100, 1), right);
  EXPECT_TRUE(right.empty());
}

TEST(CheckPassword, MayBeEmptyOnlyWhereItIsSet) {
  Violations violations;
  CheckPassword("", PasswordUse::kMaySet, violations);
  CheckPassword(std::string(1024, 'x'), PasswordUse::kMustGive, violations);
  EXPECT_TRUE(violations.empty());
  CheckPassword("", PasswordUse::kMustGive, violations);
  EXPECT_THAT(violations.ToStatus(), Violates("password"));
  Violations large;
  CheckPassword(std::string(1025, 'x'), PasswordUse::kMaySet, large);
  EXPECT_THAT(large.ToStatus(), Violates("password"));
}

}  // namespace
}  // namespace parley::chat
