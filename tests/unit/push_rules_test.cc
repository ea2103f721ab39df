#include "services/scheduler/push/push_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace parley::scheduler {
namespace {

std::vector<std::string> WrongFields(const QueueTarget& target) {
  Violations violations;
  CheckQueueTarget(target, violations);
  std::vector<std::string> fields;
  for (const auto& [field, text] : DetailsOf(violations.ToStatus()).violations) {
    fields.push_back(field);
  }
  return fields;
}

TEST(PushRulesTest, ATargetWithinItsLimitsIsTaken) {
  EXPECT_THAT(WrongFields({"t", GrpcDelivery()}), ::testing::IsEmpty());
  EXPECT_THAT(WrongFields({"t", GrpcDelivery{absl::Milliseconds(1), 1}}), ::testing::IsEmpty());
  EXPECT_THAT(WrongFields({"t", GrpcDelivery{absl::Hours(1), 1000}}), ::testing::IsEmpty());
  EXPECT_THAT(WrongFields({std::string(64, 't'), CeleryDelivery()}), ::testing::IsEmpty());
  CeleryDelivery celery = {.queue = std::string(255, 'q'), .result_timeout = absl::Seconds(1)};
  EXPECT_THAT(WrongFields({"t", celery}), ::testing::IsEmpty());
  celery.result_timeout = absl::Hours(7 * 24);
  EXPECT_THAT(WrongFields({"t", celery}), ::testing::IsEmpty());
}

TEST(PushRulesTest, EverythingThatIsWrongIsNamed) {
  EXPECT_THAT(WrongFields({"", GrpcDelivery{absl::ZeroDuration(), 0}}),
              ::testing::ElementsAre("queue.target.name", "queue.target.grpc.timeout",
                                     "queue.target.grpc.max_calls"));
  EXPECT_THAT(WrongFields({std::string(65, 't'),
                           GrpcDelivery{absl::Hours(1) + absl::Nanoseconds(1), 1001}}),
              ::testing::ElementsAre("queue.target.name", "queue.target.grpc.timeout",
                                     "queue.target.grpc.max_calls"));
  CeleryDelivery celery = {.queue = "", .result_timeout = absl::Milliseconds(999)};
  EXPECT_THAT(
      WrongFields({"t", celery}),
      ::testing::ElementsAre("queue.target.celery.queue", "queue.target.celery.result_timeout"));
  celery = {.queue = std::string("q\0", 2), .result_timeout = absl::Hours(7 * 24 + 1)};
  EXPECT_THAT(
      WrongFields({"t", celery}),
      ::testing::ElementsAre("queue.target.celery.queue", "queue.target.celery.result_timeout"));
  celery = {.queue = std::string(64, 'q') + std::string(96 * 2, '\xc3')};
  for (std::size_t i = 65; i < celery.queue.size(); i += 2) celery.queue[i] = '\xbc';
  EXPECT_THAT(WrongFields({"t", celery}), ::testing::ElementsAre("queue.target.celery.queue"));
}

TEST(PushRulesTest, ErrorsAreMadeToBeStored) {
  EXPECT_EQ(StorableError("plain \xc3\xbc"), "plain \xc3\xbc");
  EXPECT_EQ(StorableError(""), "");
  EXPECT_EQ(StorableError(absl::string_view("a\0b", 3)),
            "a\xef\xbf\xbd"
            "b");
  EXPECT_EQ(StorableError("a\xff\xc3"), "a\xef\xbf\xbd\xef\xbf\xbd");
  std::string longest, too_long;
  for (int i = 0; i < 1024; ++i) longest += "\xf0\x9f\x98\x80";
  EXPECT_EQ(StorableError(longest), longest);
  EXPECT_EQ(StorableError(longest + "x"), longest);
}

TEST(PushRulesTest, AResultHas256KibAtMost) {
  EXPECT_TRUE(IsStorableResult(""));
  EXPECT_TRUE(IsStorableResult(std::string(256 * 1024, 'x')));
  EXPECT_FALSE(IsStorableResult(std::string(256 * 1024 + 1, 'x')));
}

}  // namespace
}  // namespace parley::scheduler
