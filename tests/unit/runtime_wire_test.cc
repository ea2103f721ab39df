#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/runtime/wire.h"
#include "tests/support/status_matchers.h"

namespace parley::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::set<std::string> Fields(const std::vector<std::string>& paths, Violations& violations) {
  google::protobuf::FieldMask mask;
  for (const std::string& path : paths) mask.add_paths(path);
  return FieldsToUpdate(&mask, {"name", "status"}, {"name"}, violations);
}

TEST(ToTimestamp, KeepsMicrosecondsBeforeAndAfter1970) {
  EXPECT_EQ(ToTimestamp(absl::FromUnixMicros(1'500'000)).seconds(), 1);
  EXPECT_EQ(ToTimestamp(absl::FromUnixMicros(1'500'001)).nanos(), 500'001'000);
  EXPECT_EQ(ToTimestamp(absl::FromUnixMicros(-1)).seconds(), -1);
  EXPECT_EQ(ToTimestamp(absl::FromUnixMicros(-1)).nanos(), 999'999'000);
}

TEST(FieldsToUpdate, WithoutAMaskAreThePopulatedOnes) {
  Violations violations;
  EXPECT_THAT(FieldsToUpdate(nullptr, {"name", "status"}, {"name"}, violations),
              ElementsAre("name"));
  EXPECT_THAT(Fields({}, violations), ElementsAre("name"));
}

TEST(FieldsToUpdate, AreThoseOfTheMaskAndAllForTheStar) {
  Violations violations;
  EXPECT_THAT(Fields({"status"}, violations), ElementsAre("status"));
  EXPECT_THAT(Fields({"*"}, violations), ElementsAre("name", "status"));
  EXPECT_TRUE(violations.empty());
}

TEST(FieldsToUpdate, RefuseAPathThatCannotBeChanged) {
  Violations violations;
  EXPECT_THAT(Fields({"id"}, violations), IsEmpty());
  EXPECT_THAT(violations.ToStatus(), parley::testing::Violates("update_mask"));
}

TEST(Etag, IsTheVersionAndAnythingElseMismatches) {
  EXPECT_EQ(VersionFromEtag(ToEtag(17)), 17);
  EXPECT_EQ(VersionFromEtag(""), std::nullopt);
  EXPECT_EQ(VersionFromEtag("W/\"x\""), -1);
}

}  // namespace
}  // namespace parley::runtime
