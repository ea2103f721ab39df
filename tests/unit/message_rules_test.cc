#include "services/message/message_rules.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "services/message/message_convert.h"
#include "tests/support/status_matchers.h"

namespace parley::message {
namespace {

using parley::testing::IsOk;
using parley::testing::Violates;

absl::Status Check(const MessageKey& key) {
  Violations violations;
  CheckKey(key, {}, violations);
  return violations.ToStatus();
}

TEST(CheckKey, TakesAnIdOrAPlace) {
  EXPECT_THAT(Check({.id = 1}), IsOk());
  EXPECT_THAT(Check({.chat_id = 1, .seq = 1}), IsOk());
}

TEST(CheckKey, RefusesNeitherBothAndHalves) {
  EXPECT_THAT(Check({}), Violates("message_id"));
  EXPECT_THAT(Check({.id = 1, .chat_id = 1}), Violates("chat_id"));
  EXPECT_THAT(Check({.id = 1, .seq = 1}), Violates("seq"));
  EXPECT_THAT(Check({.chat_id = 1}), Violates("seq"));
  EXPECT_THAT(Check({.seq = 1}), Violates("chat_id"));
  EXPECT_THAT(Check({.id = -1}), Violates("message_id"));
}

TEST(CheckMessageText, CountsFourByteCharactersAsOne) {
  std::string text;
  for (int i = 0; i < 1024; ++i) text += "😀";
  Violations violations;
  CheckMessageText("text", text, violations);
  EXPECT_TRUE(violations.empty());
  CheckMessageText("text", text + "😀", violations);
  EXPECT_THAT(violations.ToStatus(), Violates("text"));
}

std::string FieldsOf(const Violations& violations) {
  std::string fields;
  for (const auto& [field, why] : DetailsOf(violations.ToStatus()).violations) {
    fields += field + " ";
  }
  return fields;
}

TEST(CheckWatched, WantsEitherChatsOrAUser) {
  const auto fields = [](const std::vector<std::int64_t>& chat_ids, std::int64_t user_id) {
    Violations violations;
    CheckWatched(chat_ids, user_id, violations);
    return FieldsOf(violations);
  };
  EXPECT_EQ(fields({1, 2, 1}, 0), "");
  EXPECT_EQ(fields({}, 7), "");
  EXPECT_EQ(fields({}, 0), "chat_ids ");
  EXPECT_EQ(fields({}, -7), "user_id ");
  EXPECT_EQ(fields({1, 0, -1}, 7), "user_id chat_ids[1] chat_ids[2] ");
  EXPECT_EQ(fields(std::vector<std::int64_t>(1000, 1), 0), "");
  EXPECT_EQ(fields(std::vector<std::int64_t>(1001, 0), 0), "chat_ids ");
}

TEST(CheckHeartbeatInterval, TakesASecondToFiveMinutes) {
  const auto fields = [](absl::Duration interval) {
    Violations violations;
    CheckHeartbeatInterval(interval, violations);
    return FieldsOf(violations);
  };
  EXPECT_EQ(fields(absl::Seconds(1)), "");
  EXPECT_EQ(fields(absl::Minutes(5)), "");
  EXPECT_EQ(fields(absl::Milliseconds(999)), "heartbeat_interval ");
  EXPECT_EQ(fields(absl::Minutes(5) + absl::Nanoseconds(1)), "heartbeat_interval ");
  EXPECT_EQ(fields(absl::InfiniteDuration()), "heartbeat_interval ");
}

TEST(MessageToProto, ShowsATombstoneWithItsPlace) {
  Message message;
  message.id = 3;
  message.chat_id = 4;
  message.seq = 5;
  message.deleted = true;
  message.revision = 2;
  message.version = 6;
  const v1::Message proto = ToProto(message);
  EXPECT_EQ(proto.seq(), 5);
  EXPECT_TRUE(proto.deleted());
  EXPECT_EQ(proto.text(), "");
  EXPECT_EQ(proto.revision(), 2);
  EXPECT_EQ(proto.etag(), "6");
}

TEST(CheckSearchQuery, TakesWhatCanBeTyped) {
  const auto check = [](const std::string& query) {
    Violations violations;
    CheckSearchQuery("query", query, violations);
    return violations.ToStatus();
  };
  EXPECT_THAT(check("!"), IsOk());
  EXPECT_THAT(check(std::string(1024, 'x')), IsOk());
  EXPECT_THAT(check(""), Violates("query"));
  EXPECT_THAT(check(std::string(1025, 'x')), Violates("query"));
  EXPECT_THAT(check(std::string("a\0b", 3)), Violates("query"));
}

TEST(IsSearchLanguage, TakesPlainNames) {
  EXPECT_TRUE(IsSearchLanguage("simple"));
  EXPECT_TRUE(IsSearchLanguage("my_german2"));
  for (const char* name : {"", "German", "2nd", "a b", "a;b", "pg_catalog.german", "\xc3\xa4"}) {
    EXPECT_FALSE(IsSearchLanguage(name)) << name;
  }
}

}  // namespace
}  // namespace parley::message
