#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/text.h"

namespace parley {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using Listed = std::vector<std::pair<std::string, std::string>>;

std::string Repeat(absl::string_view piece, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text.append(piece.data(), piece.size());
  return text;
}

Listed Check(absl::string_view text, TextLimits limits) {
  Violations violations;
  CheckText("text", text, limits, violations);
  return DetailsOf(violations.ToStatus()).violations;
}

TEST(CountCodePoints, CountsCharactersAndNotBytes) {
  EXPECT_EQ(CountCodePoints(""), 0u);
  EXPECT_EQ(CountCodePoints("abc"), 3u);
  EXPECT_EQ(CountCodePoints("äß"), 2u);
  EXPECT_EQ(CountCodePoints("日本"), 2u);
  EXPECT_EQ(CountCodePoints("😀😀😀"), 3u);
  EXPECT_EQ(CountCodePoints(absl::string_view("a\0b", 3)), 3u);
}

TEST(CountCodePoints, RefusesWhatIsNotUtf8) {
  EXPECT_FALSE(CountCodePoints("\xff"));
  EXPECT_FALSE(CountCodePoints("\xc0\x80"));          // overlong
  EXPECT_FALSE(CountCodePoints("\xed\xa0\x80"));      // a surrogate
  EXPECT_FALSE(CountCodePoints("\xf4\x90\x80\x80"));  // beyond U+10FFFF
  EXPECT_FALSE(CountCodePoints("\xe6\x97"));          // cut short
}

TEST(CheckText, TakesTheLimitAndRefusesOneMoreInEveryWidth) {
  for (const char* character : {"a", "ä", "日", "😀"}) {
    EXPECT_THAT(Check(Repeat(character, 1024), {1, 1024}), IsEmpty()) << character;
    EXPECT_THAT(Check(Repeat(character, 1025), {1, 1024}),
                ElementsAre(Pair("text", "must have at most 1024 characters, has 1025")));
  }
}

TEST(CheckText, RefusesEmptyNulAndBadText) {
  EXPECT_THAT(Check("", {1, 5}), ElementsAre(Pair("text", "must not be empty")));
  EXPECT_THAT(Check("", {0, 5}), IsEmpty());
  EXPECT_THAT(Check(absl::string_view("a\0b", 3), {1, 5}),
              ElementsAre(Pair("text", "must not contain U+0000")));
  EXPECT_THAT(Check("\xff", {1, 5}), ElementsAre(Pair("text", "must be valid UTF-8")));
}

TEST(CutText, EndsBetweenCharacters) {
  EXPECT_EQ(CutText("abc", 3), "abc");
  EXPECT_EQ(CutText("abcd", 3), "abc");
  EXPECT_EQ(CutText("a😀b", 5), "a😀");
  EXPECT_EQ(CutText("a😀b", 4), "a");
  EXPECT_EQ(CutText("😀", 3), "");
}

TEST(FoldLogin, IgnoresCaseAndWidthAndComposition) {
  EXPECT_EQ(FoldLogin("Ann"), "ann");
  EXPECT_EQ(FoldLogin("Ａｎｎ"), "ann");
  EXPECT_EQ(FoldLogin("STRASSE"), FoldLogin("straße"));
  EXPECT_EQ(FoldLogin("e\xcc\x81"), FoldLogin("\xc3\xa9"));  // e + combining acute, é
  EXPECT_NE(FoldLogin("ann"), FoldLogin("anna"));
  EXPECT_FALSE(FoldLogin("\xff"));
}

TEST(CheckRequestId, TakesUpTo64PrintableCharacters) {
  const auto check = [](absl::string_view id) {
    Violations violations;
    CheckRequestId(id, violations);
    return violations.empty();
  };
  EXPECT_TRUE(check(""));
  EXPECT_TRUE(check("order-17/a:b"));
  EXPECT_TRUE(check(std::string(64, 'x')));
  EXPECT_FALSE(check(std::string(65, 'x')));
  EXPECT_FALSE(check("a b"));
  EXPECT_FALSE(check("ä"));
  EXPECT_FALSE(check("a\n"));
}

}  // namespace
}  // namespace parley
