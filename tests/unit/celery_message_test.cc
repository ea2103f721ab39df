#include "services/celery/celery_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "absl/strings/escaping.h"
#include "tests/support/status_matchers.h"

namespace parley::celery {
namespace {

using ::testing::HasSubstr;
using ::testing::Pair;

constexpr char kId[] = "0d8ae9d8-6a0b-8b3b-9a9c-0123456789ab";

Task SomeTask() {
  Task task;
  task.id = 7;
  task.name = "queue.test";
  task.attempt = 1;
  task.create_time = absl::FromUnixMicros(1'767'225'600'123'456);
  return task;
}

CeleryMessage MessageWith(const std::string& payload) {
  Task task = SomeTask();
  task.payload = payload;
  const auto message = MessageOf(task, "celery");
  EXPECT_TRUE(message.ok()) << payload << ": " << message.status();
  return message.ok() ? *message : CeleryMessage{};
}

TEST(CeleryMessageTest, AnEmptyPayloadCallsWithoutArguments) {
  const CeleryMessage message = MessageWith("");
  EXPECT_EQ(message.task, "queue.test");
  EXPECT_EQ(message.queue, "celery");
  EXPECT_EQ(message.args, "[]");
  EXPECT_EQ(message.kwargs, "{}");
  EXPECT_EQ(message.retries, 0);
  EXPECT_FALSE(message.expires.has_value());
}

TEST(CeleryMessageTest, ThePayloadHoldsTheArguments) {
  const CeleryMessage both =
      MessageWith(R"({"args": [1, "ü", 12345678901234567890123], "kwargs": {"a": {"b": []}}})");
  EXPECT_EQ(both.args, R"([1,"ü",12345678901234567890123])");
  EXPECT_EQ(both.kwargs, R"({"a":{"b":[]}})");
  EXPECT_EQ(MessageWith(R"({"args":[1]})").kwargs, "{}");
  EXPECT_EQ(MessageWith(R"({"kwargs":{"k":1}})").args, "[]");
  EXPECT_EQ(MessageWith("{}").args, "[]");
}

TEST(CeleryMessageTest, AnyOtherPayloadIsRefusedWithTheReason) {
  for (const auto& [payload, reason] : std::initializer_list<std::pair<const char*, const char*>>{
           {"x", "not a JSON object"},
           {"[1]", "not a JSON object"},
           {"null", "not a JSON object"},
           {"{\"args\":[\xff]}", "not a JSON object"},
           {R"({"args":{}})", "args is no array"},
           {R"({"args":null})", "args is no array"},
           {R"({"args":"[1]"})", "args is no array"},
           {R"({"kwargs":[]})", "kwargs is no object"},
           {R"({"args":[],"options":{}})", "other members"},
           {R"({"to":"ann"})", "other members"}}) {
    Task task = SomeTask();
    task.payload = payload;
    const auto message = MessageOf(task, "celery");
    ASSERT_EQ(message.status().code(), absl::StatusCode::kInvalidArgument) << payload;
    EXPECT_THAT(std::string(message.status().message()), HasSubstr(reason)) << payload;
  }
}

TEST(CeleryMessageTest, AHeaderWhoseNameDoesNotFitIsRefused) {
  Task task = SomeTask();
  task.headers = {{std::string(255, 'n'), "fits"}};
  EXPECT_TRUE(MessageOf(task, "celery").ok());
  task.headers = {{std::string(256, 'n'), "does not"}};
  EXPECT_EQ(MessageOf(task, "celery").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CeleryMessageTest, AllAttemptsOfATaskHaveOneIdAndCountTheirRetries) {
  Task task = SomeTask();
  std::set<std::string> ids;
  for (const int attempt : {1, 2, 3}) {
    task.attempt = attempt;
    const auto message = MessageOf(task, "celery");
    ASSERT_TRUE(message.ok());
    EXPECT_EQ(message->retries, attempt - 1);
    ids.insert(message->id);
  }
  EXPECT_EQ(ids.size(), 1U);
  EXPECT_THAT(*ids.begin(),
              ::testing::MatchesRegex(
                  "[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
}

TEST(CeleryMessageTest, IdsOfOtherTasksAndOfOtherDatabasesDiffer) {
  const absl::Time time = absl::FromUnixMicros(1'767'225'600'123'456);
  std::set<std::string> ids;
  for (int task = 1; task <= 100; ++task) {
    ids.insert(CeleryId(task, time));
    ids.insert(CeleryId(task, time + absl::Microseconds(1)));
  }
  EXPECT_EQ(ids.size(), 200U);
  // Known to workers and result backends: it may not change.
  // Workers and result backends know it: it may not change.
  EXPECT_EQ(CeleryId(7, time), "4ddf0600-1153-853d-90ea-7ab9c224b85a");
}

TEST(CeleryMessageTest, TheEnvelopeForRedisIsWhatKombuReads) {
  const CeleryMessage message = {.id = kId,
                                 .task = "queue.test",
                                 .args = R"([1,"ü"])",
                                 .kwargs = R"({"a":null})",
                                 .headers = {{"x-trace", "a\"b"}},
                                 .retries = 2,
                                 .queue = "celery",
                                 .priority = 3};
  const std::string body =
      R"([[1,"ü"],{"a":null},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}])";
  EXPECT_EQ(MessageBody(message), body);
  EXPECT_EQ(
      RedisEnvelope(message, "5b8b3c0e-0000-4000-8000-000000000000"),
      R"({"body":")" + absl::Base64Escape(body) +
          R"(","content-encoding":"utf-8","content-type":"application/json","headers":{)"
          R"("lang":"py","task":"queue.test","id":"0d8ae9d8-6a0b-8b3b-9a9c-0123456789ab",)"
          R"("root_id":"0d8ae9d8-6a0b-8b3b-9a9c-0123456789ab","parent_id":null,"group":null,)"
          R"("group_index":null,"shadow":null,"eta":null,"expires":null,"retries":2,)"
          R"("timelimit":[null,null],"argsrepr":"[1,\"ü\"]","kwargsrepr":"{\"a\":null}",)"
          R"("origin":"parley-schedulerd","ignore_result":false,"stamped_headers":null,"stamps":{},)"
          R"("x-trace":"a\"b"},"properties":{)"
          R"("correlation_id":"0d8ae9d8-6a0b-8b3b-9a9c-0123456789ab","reply_to":"",)"
          R"("delivery_mode":2,"delivery_info":{"exchange":"","routing_key":"celery"},)"
          R"("priority":3,"body_encoding":"base64",)"
          R"("delivery_tag":"5b8b3c0e-0000-4000-8000-000000000000"}})");
}

TEST(CeleryMessageTest, AnExpireTimeGoesAlong) {
  Task task = SomeTask();
  task.expire_time = absl::FromUnixMicros(1'767'225'600'000'001);
  const auto message = MessageOf(task, "celery");
  ASSERT_TRUE(message.ok());
  const auto envelope = nlohmann::json::parse(RedisEnvelope(*message, "t"));
  EXPECT_EQ(envelope["headers"]["expires"], "2026-01-01T00:00:00.000001+00:00");
}

TEST(CeleryMessageTest, HeadersDoNotTakeThePlaceOfCelerysOwn) {
  Task task = SomeTask();
  task.headers = {{"task", "x"}, {"id", "x"},      {"eta", "x"}, {"chord", "x"},
                  {"get", "x"},  {"__dict__", ""}, {"mine", "x"}};
  const auto message = MessageOf(task, "celery");
  ASSERT_TRUE(message.ok());
  const auto headers = nlohmann::json::parse(RedisEnvelope(*message, "t"))["headers"];
  EXPECT_EQ(headers["task"], "queue.test");
  EXPECT_EQ(headers["id"], message->id);
  EXPECT_EQ(headers["eta"], nullptr);
  EXPECT_EQ(headers["mine"], "x");
  for (const char* name : {"chord", "get", "__dict__"})
    EXPECT_FALSE(headers.contains(name)) << name;
}

TEST(CeleryMessageTest, LongArgumentsAreShownInPart) {
  const CeleryMessage message = MessageWith(R"({"args":[")" + std::string(5000, 'x') + R"("]})");
  const auto headers = nlohmann::json::parse(RedisEnvelope(message, "t"))["headers"];
  EXPECT_EQ(headers["argsrepr"], R"([")" + std::string(1022, 'x') + "...");
}

TEST(CeleryMessageTest, ThePrioritiesOfRedisAreFourListsAndTheSmallestComesFirst) {
  const std::string separator = "\x06\x16";
  const std::string by_priority[] = {"q" + separator + "9",
                                     "q" + separator + "6",
                                     "q" + separator + "6",
                                     "q" + separator + "6",
                                     "q" + separator + "3",
                                     "q" + separator + "3",
                                     "q" + separator + "3",
                                     "q",
                                     "q",
                                     "q"};
  for (int priority = 0; priority <= 9; ++priority) {
    EXPECT_EQ(RedisList("q", RedisPriority(priority)), by_priority[priority]) << priority;
  }
}

TEST(CeleryMessageTest, ARevokeIsWhatCelerysRemoteControlBroadcasts) {
  const auto body = nlohmann::json::parse(RevokeBody(kId));
  EXPECT_EQ(body, nlohmann::json::parse(
                      R"({"method":"revoke","arguments":{"task_id":")" + std::string(kId) +
                      R"(","terminate":false,"signal":"SIGTERM"},"destination":null,)"
                      R"("pattern":null,"matcher":null})"));
  const auto envelope = nlohmann::json::parse(RedisRevokeEnvelope(kId, "t"));
  std::string decoded;
  ASSERT_TRUE(absl::Base64Unescape(envelope["body"].get<std::string>(), &decoded));
  EXPECT_EQ(decoded, RevokeBody(kId));
  EXPECT_EQ(envelope["properties"]["delivery_info"]["exchange"], "celery.pidbox");
}

}  // namespace
}  // namespace parley::celery
