#include <gtest/gtest.h>

#include <set>
#include <string>

#include "services/scheduler/push/celery_parts.h"
#include "services/scheduler/push/push_token.h"

namespace parley::scheduler {
namespace {

CeleryQueue QueueAt(const char* broker, const char* results, CeleryDelivery::Mode mode) {
  CeleryQueue queue = {.queue = "q", .target = "t", .delivery = {.mode = mode}};
  queue.broker = celery::ParseBrokerUrl(broker).value();
  if (results != nullptr) queue.results = celery::ParseBrokerUrl(results).value();
  return queue;
}

constexpr auto kForget = CeleryDelivery::Mode::kFireAndForget;
constexpr auto kTrack = CeleryDelivery::Mode::kTrackResult;

TEST(PushPlaceTest, AnotherServerOrModeIsAnotherPlace) {
  std::set<std::string> prefixes;
  std::size_t places = 0;
  for (const char* broker : {"redis://a", "redis://b", "redis://a:1", "redis://a/1", "amqp://a",
                             "amqp://b", "amqp://a:1", "amqp://a/v"}) {
    prefixes.insert(PlaceOf(QueueAt(broker, "redis://r", kForget)).token_prefix);
    prefixes.insert(PlaceOf(QueueAt(broker, "redis://r", kTrack)).token_prefix);
    prefixes.insert(PlaceOf(QueueAt(broker, "redis://r/1", kTrack)).token_prefix);
    places += 3;
  }
  prefixes.insert(PushTokenPrefix({"grpc", "a:1"}));
  prefixes.insert(PushTokenPrefix({"grpc", "b:1"}));
  EXPECT_EQ(prefixes.size(), places + 2);
  for (const std::string& prefix : prefixes) {
    EXPECT_EQ(prefix.size(), 16U);
    EXPECT_EQ(prefix.substr(0, 8), kPushTokenPrefix);
    EXPECT_EQ(prefix.find_first_not_of("0123456789abcdef"), std::string::npos) << prefix;
  }
}

TEST(PushPlaceTest, WhatMakesNoDifferenceToAHandOffLeavesThePlace) {
  const CeleryQueue queue = QueueAt("redis://a", "redis://r", kTrack);
  CeleryQueue other = QueueAt("redis://:secret@a:6379/0", "redis://:secret@r", kTrack);
  other.target = "another name";
  other.delivery.queue = "other";
  other.delivery.result_timeout = absl::Hours(9);
  other.delivery.redis_priorities = true;
  EXPECT_EQ(PlaceOf(other), PlaceOf(queue));
  // What has no result to wait for has nothing to do with where results are.
  EXPECT_EQ(PlaceOf(QueueAt("redis://a", "redis://r", kForget)),
            PlaceOf(QueueAt("redis://a", nullptr, kForget)));
  other.queue = "q2";
  EXPECT_NE(PlaceOf(other), PlaceOf(queue));
}

// Servers of another version must come to the same.
TEST(PushPlaceTest, APlaceHasItsPrefixForEver) {
  EXPECT_EQ(PlaceOf(QueueAt("redis://a", "redis://r", kTrack)).token_prefix, "70757368559d4042");
}

}  // namespace
}  // namespace parley::scheduler
