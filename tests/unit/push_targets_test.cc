#include "services/scheduler/push/push_targets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <variant>

#include "tests/support/status_matchers.h"

namespace parley::scheduler {
namespace {

using parley::testing::IsOk;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(PushTargetsTest, AreAListOfNamesAndUrls) {
  const auto targets = ParsePushTargets(
      "  mail=grpc://mail.internal:50060\n"
      "a.b_c-1=redis://:pw@redis:6380/3 "
      "split=redis://redis;results=redis://results/1\t"
      "rabbit=amqp://u:p@rabbit/app "
      "tracked=amqp://u:p@rabbit/app;results=redis://redis/2");
  ASSERT_TRUE(targets.ok()) << targets.status();
  ASSERT_EQ(targets->size(), 5U);
  EXPECT_EQ(std::get<GrpcEndpoint>(targets->at("mail")).address, "mail.internal:50060");
  const auto& redis = std::get<CeleryEndpoint>(targets->at("a.b_c-1"));
  EXPECT_EQ(redis.broker.port, 6380);
  EXPECT_EQ(redis.results, redis.broker);
  EXPECT_EQ(std::get<CeleryEndpoint>(targets->at("split")).results->host, "results");
  EXPECT_EQ(std::get<CeleryEndpoint>(targets->at("rabbit")).results, std::nullopt);
  EXPECT_EQ(std::get<CeleryEndpoint>(targets->at("tracked")).results->database, 2);
  EXPECT_THAT(ParsePushTargets(""), IsOk());
}

TEST(PushTargetsTest, WhatIsWrongIsSaidByNameWithoutTheSecret) {
  for (const char* text :
       {"secret", "=redis://secret", "a b=redis://h", "ok=redis://h x=redis://:secret@",
        "x=http://secret", "x=grpc://secret", "x=grpc://secret:0", "x=grpc://secret:99999",
        "x=grpc://u:secret@h:1", "x=grpc://h:1/secret", "x=grpc://:1", "x=redis://h;secret",
        "x=redis://h;results=secret", "x=redis://h;results=amqp://secret", "x=redis://h;secret=1",
        "x=redis://h x=redis://secret", "x="}) {
    const auto targets = ParsePushTargets(text);
    ASSERT_EQ(targets.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(targets.status().message()), Not(HasSubstr("secret"))) << text;
  }
  EXPECT_THAT(std::string(ParsePushTargets("a=grpc://h:1 mail=grpc://h").status().message()),
              HasSubstr("target mail: "));
}

TEST(PushTargetsTest, OnlyWhatIsConfiguredCanBeDeliveredTo) {
  const auto targets = ParsePushTargets(
      "handler=grpc://h:1 redis=redis://h rabbit=amqp://h tracked=amqp://h;results=redis://h");
  ASSERT_TRUE(targets.ok());
  const auto why_not = [&](const QueueTarget& target) {
    return std::string(CheckDeliverable(*targets, target).message());
  };
  const CeleryDelivery forget;
  const CeleryDelivery track = {.mode = CeleryDelivery::Mode::kTrackResult};
  EXPECT_EQ(why_not({"handler", GrpcDelivery()}), "");
  for (const char* name : {"redis", "rabbit", "tracked"}) EXPECT_EQ(why_not({name, forget}), "");
  for (const char* name : {"redis", "tracked"}) EXPECT_EQ(why_not({name, track}), "");
  EXPECT_THAT(why_not({"rabbit", track}), HasSubstr("no result backend"));
  EXPECT_THAT(why_not({"redis", GrpcDelivery()}), HasSubstr("is Celery"));
  EXPECT_THAT(why_not({"handler", forget}), HasSubstr("is a TaskHandler"));
  EXPECT_THAT(why_not({"nobody", forget}), HasSubstr("no target of that name"));
  EXPECT_THAT(why_not({"", GrpcDelivery()}), HasSubstr("no target of that name"));
}

}  // namespace
}  // namespace parley::scheduler
