#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "services/celery/json_members.h"

namespace parley::celery {
namespace {

using ::testing::Optional;
using Members = std::map<std::string, std::string>;

TEST(JsonMembersTest, MembersComeBackAsTheyAreWithoutSpaces) {
  EXPECT_THAT(SplitJsonObject(R"( { "a" : [ 1 , [ ] , { } , [ [ 2 ] , "x" ] ] , "b" : { "c" : null ,
                                  "d" : [ true , false ] } , "" : "" } )"),
              Optional(Members{{"a", R"([1,[],{},[[2],"x"]])"},
                               {"b", R"({"c":null,"d":[true,false]})"},
                               {"", R"("")"}}));
  EXPECT_THAT(SplitJsonObject("{}"), Optional(Members{}));
}

TEST(JsonMembersTest, NumbersKeepEveryDigit) {
  const std::string numbers =
      "[123456789012345678901234567890,-123456789012345678901234567890,18446744073709551615,"
      "-9223372036854775808,0.1000000000000000055511151231257827,1e300,1E-7,-0.0,2.50]";
  EXPECT_THAT(SplitJsonObject(R"({"n":)" + numbers + "}"), Optional(Members{{"n", numbers}}));
}

TEST(JsonMembersTest, TextsKeepTheirCharacters) {
  EXPECT_THAT(SplitJsonObject(R"({"t":["\u00fc\ud83d\ude00 \"\\\/\n\u0000","ü"]})"),
              Optional(Members{{"t", R"(["ü😀 \"\\/\n\u0000","ü"])"}}));
}

TEST(JsonMembersTest, WhatIsNoObjectIsRefused) {
  for (const char* text : {"", "null", "1", "1.5", "\"a\"", "true", "[]", "[{}]", "{", "{\"a\"}",
                           "{\"a\":}", "{\"a\":1,}", "{\"a\":1} x", "{\"a\":1,\"a\":2}",
                           "{\"a\":NaN}", "{\"a\":\"\xff\"}", "{\"a\":\"\\ud800\"}", "{'a':1}"}) {
    EXPECT_EQ(SplitJsonObject(text), std::nullopt) << text;
  }
}

TEST(JsonMembersTest, DeepBracketsDoNotOverflowTheStack) {
  const std::string deep = std::string(500'000, '[') + std::string(500'000, ']');
  EXPECT_THAT(SplitJsonObject("{\"a\":" + deep + "}"), Optional(Members{{"a", deep}}));
}

TEST(JsonMembersTest, StringsAreReadAndQuoted) {
  EXPECT_THAT(JsonString(R"("a\u00fc")"), Optional(std::string("aü")));
  for (const char* text : {"1", "null", "", "[\"a\"]", "\"a"}) {
    EXPECT_EQ(JsonString(text), std::nullopt) << text;
  }
  EXPECT_EQ(QuoteJson("a\"\\\n\x01ü"), R"("a\"\\\n\u0001ü")");
  EXPECT_EQ(QuoteJson("\xff"), "\"\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace parley::celery
