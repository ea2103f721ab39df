#include "services/scheduler/queue_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "services/scheduler/queue_convert.h"

namespace parley::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

// The fields that are named as wrong.
std::vector<std::string> Fields(const Violations& violations) {
  std::vector<std::string> fields;
  for (const auto& [field, description] : DetailsOf(violations.ToStatus()).violations) {
    fields.push_back(field);
  }
  return fields;
}

std::vector<std::string> Wrong(QueueSettings settings) {
  Violations violations;
  PrepareQueueSettings(settings, violations);
  return Fields(violations);
}

TEST(QueueSettingsTest, TheDefaultsAndTheBoundsAreRight) {
  EXPECT_THAT(Wrong({}), IsEmpty());
  EXPECT_THAT(Wrong({.max_attempts = 1,
                     .max_running = 1,
                     .max_running_per_key = 1,
                     .rate_limit = RateLimit{0.00001, 0}}),
              IsEmpty());
  EXPECT_THAT(Wrong({.max_attempts = 100,
                     .max_running = 1'000'000,
                     .max_running_per_key = 1'000'000,
                     .rate_limit = RateLimit{1'000'000, 1'000'000}}),
              IsEmpty());
}

TEST(QueueSettingsTest, EverythingThatIsWrongIsNamed) {
  EXPECT_THAT(Wrong({.max_attempts = -1,
                     .retry = {.first = absl::Hours(-1), .multiplier = 0.5},
                     .max_running = -1,
                     .max_running_per_key = 1'000'001,
                     .rate_limit = RateLimit{1, -1}}),
              ElementsAre("queue.max_attempts", "queue.retry_policy.initial_backoff",
                          "queue.retry_policy.backoff_multiplier", "queue.max_running",
                          "queue.max_running_per_key", "queue.rate_limit.burst"));
  EXPECT_THAT(Wrong({.max_attempts = 101, .rate_limit = RateLimit{1, 1'000'001}}),
              ElementsAre("queue.max_attempts", "queue.rate_limit.burst"));
  for (const double rate :
       {0.0, -1.0, 0.000001, 1'000'000.5, std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_THAT(Wrong({.rate_limit = RateLimit{rate, 1}}), ElementsAre("queue.rate_limit.rate"));
  }
}

TEST(QueueSettingsTest, ABurstIsWhatComesInASecondButAtLeastOne) {
  for (const auto& [rate, burst] : std::vector<std::pair<double, std::int32_t>>{
           {0.00001, 1}, {1, 1}, {1.5, 2}, {1'000'000, 1'000'000}}) {
    QueueSettings settings = {.rate_limit = RateLimit{rate, 0}};
    Violations violations;
    PrepareQueueSettings(settings, violations);
    EXPECT_EQ(settings.rate_limit->burst, burst) << rate;
  }
}

pb::UpdateQueueRequest UpdateOf(const std::vector<std::string>& paths) {
  pb::UpdateQueueRequest request;
  request.mutable_queue()->set_name("q");
  request.mutable_queue()->set_max_running(5);
  request.mutable_queue()->mutable_retry_policy()->mutable_max_backoff()->set_nanos(-2'000'000'000);
  for (const std::string& path : paths) request.mutable_update_mask()->add_paths(path);
  return request;
}

TEST(UpdateQueueTest, WithoutAMaskWhatIsSetIsMeant) {
  pb::UpdateQueueRequest request = UpdateOf({});
  request.mutable_queue()->mutable_retry_policy()->Clear();
  Violations violations;
  const QueueUpdate update = FromProto(request, violations);
  EXPECT_TRUE(violations.empty());
  EXPECT_THAT(update.fields, UnorderedElementsAre("max_running", "retry_policy"));
  const QueueChange change = ChangeOf(update);
  EXPECT_EQ(change.max_running, 5);
  EXPECT_EQ(change.retry, RetryPolicy());
  EXPECT_FALSE(change.max_attempts);
  EXPECT_FALSE(change.rate_limit);
}

TEST(UpdateQueueTest, WhatTheMaskDoesNotNameIsNotLookedAt) {
  Violations violations;
  const QueueChange change =
      ChangeOf(FromProto(UpdateOf({"rate_limit", "max_running_per_key"}), violations));
  EXPECT_TRUE(violations.empty());
  EXPECT_FALSE(change.max_running);
  EXPECT_FALSE(change.retry);
  EXPECT_EQ(change.max_running_per_key, 0);
  ASSERT_TRUE(change.rate_limit);
  EXPECT_FALSE(*change.rate_limit);
}

TEST(UpdateQueueTest, WhatTheMaskNamesWronglyIsNamed) {
  Violations violations;
  FromProto(UpdateOf({"*", "pause_note", "retry_policy.jitter"}), violations);
  EXPECT_THAT(Fields(violations),
              ElementsAre("update_mask", "update_mask", "queue.retry_policy.max_backoff"));
}

TEST(CreateQueueTest, AFingerprintTellsContentsApart) {
  pb::CreateQueueRequest request;
  std::vector<std::string> seen;
  const auto add = [&] {
    seen.push_back(FingerprintOf(request));
    for (std::size_t i = 0; i + 1 < seen.size(); ++i) EXPECT_NE(seen[i], seen.back());
  };
  pb::Queue& queue = *request.mutable_queue();
  add();
  queue.set_name("q");
  add();
  queue.set_max_attempts(1);
  add();
  queue.mutable_retry_policy()->set_jitter(0);
  add();
  queue.set_max_running(1);
  add();
  queue.set_max_running_per_key(1);
  add();
  queue.mutable_rate_limit()->set_rate(1);
  add();
  queue.mutable_rate_limit()->set_rate(1.00000001);
  add();
  queue.mutable_rate_limit()->set_burst(1);
  add();
  // What is output only means nothing.
  queue.set_pause_note("x");
  EXPECT_EQ(FingerprintOf(request), seen.back());
}

}  // namespace
}  // namespace parley::scheduler
