#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "db/adopt/label_map.h"
#include "tests/support/status_matchers.h"

namespace parley::adopt {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<LabelMap> ParseTypes(const std::vector<std::string>& given) {
  return LabelMap::Parse(given, {"private", "group", "channel"});
}

TEST(LabelMap, KnowsOursWhateverTheCase) {
  const LabelMap map = ParseTypes({}).value();
  EXPECT_EQ(map.MeaningOf("PRIVATE"), "private");
  EXPECT_EQ(map.MeaningOf("Group"), "group");
  EXPECT_EQ(map.MeaningOf("support"), std::nullopt);
}

TEST(LabelMap, TakesWhatIsGivenFirst) {
  const LabelMap map = ParseTypes({"support=Channel", "group=PRIVATE", "a=b=GROUP"}).value();
  EXPECT_EQ(map.MeaningOf("support"), "channel");
  EXPECT_EQ(map.MeaningOf("group"), "private");
  EXPECT_EQ(map.MeaningOf("GROUP"), "group");
  EXPECT_EQ(map.MeaningOf("a=b"), "group");
}

TEST(LabelMap, RefusesWhatMakesNoSense) {
  for (const char* wrong : {"group", "=GROUP", "group=", "group=ROOM"}) {
    EXPECT_THAT(ParseTypes({wrong}).status().message(), HasSubstr("PRIVATE, GROUP or CHANNEL"));
  }
  EXPECT_FALSE(ParseTypes({"a=GROUP", "a=PRIVATE"}).ok());
  EXPECT_TRUE(ParseTypes({"a=GROUP", "a=group"}).ok());
}

TEST(LabelMap, QuotesLabelsInSql) {
  const LabelMap map = ParseTypes({"it's=GROUP"}).value();
  EXPECT_EQ(map.MeaningSql("c", {"it's", "odd", "PRIVATE"}),
            "CASE c::text WHEN 'it''s' THEN 'group' WHEN 'PRIVATE' THEN 'private' END");
  EXPECT_EQ(map.MeaningSql("c", {"odd"}), "NULL::text");
}

}  // namespace
}  // namespace parley::adopt
