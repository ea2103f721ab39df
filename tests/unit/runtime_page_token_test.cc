#include <gtest/gtest.h>

#include <string>

#include "services/runtime/page_token.h"
#include "tests/support/status_matchers.h"

namespace parley::runtime {
namespace {

using parley::testing::IsOkAndHolds;
using parley::testing::Violates;

PageRequest Check(const PageFields& fields, Violations& violations) {
  return CheckPage(fields, "list", {.standard = 20, .max = 100}, violations);
}

TEST(PageToken, GivesBackThePositionItWasMadeOf) {
  EXPECT_THAT(DecodePageToken("list", EncodePageToken("list", "12345")), IsOkAndHolds("12345"));
  EXPECT_THAT(DecodePageToken("list", EncodePageToken("list", "")), IsOkAndHolds(""));
}

TEST(PageToken, IsRefusedByAnotherList) {
  EXPECT_THAT(DecodePageToken("other", EncodePageToken("list", "1")), Violates("page_token"));
}

TEST(PageToken, IsRefusedWhenAnyCharacterIsChanged) {
  const std::string token = EncodePageToken("list", "12345");
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(DecodePageToken("list", changed).ok()) << i;
  }
}

TEST(PageToken, IsRefusedWhenItIsNoTokenAtAll) {
  for (const char* text : {"x", "====", "MQ", "日本", "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA"}) {
    EXPECT_THAT(DecodePageToken("list", text), Violates("page_token")) << text;
  }
}

TEST(CheckPage, FillsInTheStandardAndCutsTheLimit) {
  Violations violations;
  EXPECT_EQ(Check({}, violations).limit, 20);
  EXPECT_EQ(Check({.limit = 7}, violations).limit, 7);
  EXPECT_EQ(Check({.limit = 2'000'000'000}, violations).limit, 100);
  EXPECT_TRUE(violations.empty());
}

TEST(CheckPage, RefusesNegativeValues) {
  Violations violations;
  Check({.limit = -1, .offset = -1}, violations);
  EXPECT_THAT(violations.ToStatus(), Violates("limit"));
  EXPECT_THAT(violations.ToStatus(), Violates("offset"));
}

TEST(CheckPage, RefusesAnOffsetTogetherWithAToken) {
  const std::string token = EncodePageToken("list", "5");
  Violations violations;
  Check({.offset = 1, .token = token}, violations);
  EXPECT_THAT(violations.ToStatus(), Violates("offset"));
  EXPECT_THAT(violations.ToStatus(), Violates("page_token"));
}

TEST(CheckPage, ReadsThePositionOfAToken) {
  const std::string token = EncodePageToken("list", "5");
  Violations violations;
  EXPECT_EQ(Check({.token = token}, violations).number(), 5);
  EXPECT_TRUE(violations.empty());
}

}  // namespace
}  // namespace parley::runtime
