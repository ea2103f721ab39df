#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "services/celery/result_backend.h"

namespace parley::celery {
namespace {

CeleryResult Parsed(const std::string& record) {
  const auto result = ParseResult(record);
  EXPECT_TRUE(result.has_value()) << record;
  return result.value_or(CeleryResult{});
}

TEST(CeleryResultTest, WhatATaskReturnedIsKeptAsItIs) {
  const CeleryResult result = Parsed(
      R"({"status": "SUCCESS", "result": {"a": [1, 12345678901234567890123]}, "traceback": null,
          "children": [], "date_done": "2026-11-26T00:00:00", "task_id": "x"})");
  EXPECT_EQ(result.kind, CeleryResult::Kind::kSucceeded);
  EXPECT_EQ(result.result, R"({"a":[1,12345678901234567890123]})");
  EXPECT_EQ(Parsed(R"({"status":"SUCCESS","result":null})").result, "null");
  EXPECT_EQ(Parsed(R"({"status":"SUCCESS"})").result, "null");
}

TEST(CeleryResultTest, AnExceptionIsNamedWithItsText) {
  const auto error = [](const std::string& result) {
    const CeleryResult parsed = Parsed(R"({"status":"FAILURE","result":)" + result + "}");
    EXPECT_EQ(parsed.kind, CeleryResult::Kind::kFailed);
    return parsed.error;
  };
  EXPECT_EQ(error(R"({"exc_type":"ValueError","exc_message":["no"],"exc_module":"builtins"})"),
            "ValueError: no");
  EXPECT_EQ(error(R"({"exc_type":"E","exc_message":["a",2,null]})"), "E: a, 2, null");
  EXPECT_EQ(error(R"({"exc_type":"E","exc_message":[]})"), "E");
  EXPECT_EQ(error(R"({"exc_type":"E","exc_message":"text"})"), "E: text");
  EXPECT_EQ(error(R"({"exc_type":"E"})"), "E");
  EXPECT_EQ(error("null"), "the task failed");
}

TEST(CeleryResultTest, ARevokedTaskIsToldFromOneThatCameTooLate) {
  const auto kind = [](const std::string& text) {
    return Parsed(
               R"({"status":"REVOKED","result":{"exc_type":"TaskRevokedError","exc_message":[")" +
               text + R"("]}})")
        .kind;
  };
  EXPECT_EQ(kind("expired"), CeleryResult::Kind::kExpired);
  EXPECT_EQ(kind("revoked"), CeleryResult::Kind::kRevoked);
  EXPECT_EQ(kind("terminated"), CeleryResult::Kind::kRevoked);
}

TEST(CeleryResultTest, AllOtherStatesAreNoEnd) {
  for (const char* status : {"PENDING", "RECEIVED", "STARTED", "RETRY", "PROGRESS", "IGNORED"}) {
    EXPECT_EQ(ParseResult(std::string(R"({"status":")") + status + R"(","result":null})"),
              std::nullopt)
        << status;
  }
}

TEST(CeleryResultTest, WhatIsNoRecordIsUnreadable) {
  for (const char* record : {"", "x", "[]", "{}", R"({"status":1})", "\x80\x04\x95"}) {
    EXPECT_EQ(Parsed(record).kind, CeleryResult::Kind::kUnreadable) << record;
  }
}

}  // namespace
}  // namespace parley::celery
