#include "services/message/message_rules.h"

#include <gtest/gtest.h>

#include <string>

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

}  // namespace
}  // namespace parley::message
