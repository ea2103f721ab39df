#include "db/repository/search_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "db/repository/message_repository.h"
#include "tests/support/people.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

using absl::StatusCode;
using parley::testing::IsOk;
using parley::testing::NewChat;
using parley::testing::NewUser;
using parley::testing::Soon;
using parley::testing::StatusIs;
using parley::testing::TempDatabase;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Texts = std::vector<std::string>;

class Search : public ::testing::Test {
 protected:
  Message Say(const std::string& text) { return Say(text, chat_); }
  Message Say(const std::string& text, std::int64_t chat) {
    Message message =
        messages_.Send({.chat_id = chat, .user_id = ann_, .text = text}, Soon()).value();
    Index("simple");
    return message;
  }

  // Indexes everything in a language, as a server with that language would have done.
  void Index(const std::string& language) {
    database_.Sql(absl::StrCat("UPDATE messages SET search = to_tsvector('", language,
                               "', text) WHERE NOT deleted"));
  }

  absl::StatusOr<Page<Message, SearchPosition>> Ask(const SearchRepository::SearchParams& params) {
    return search_.Search(params, Soon());
  }

  Texts Find(const std::string& query) { return TextsOf({.query = query, .user_id = ann_}); }
  Texts TextsOf(const SearchRepository::SearchParams& params) {
    const auto page = Ask(params);
    EXPECT_THAT(page, IsOk()) << params.query;
    Texts texts;
    if (page.ok()) {
      for (const Message& message : page->rows) texts.push_back(message.text);
    }
    return texts;
  }

  // All pages of a search, `limit` messages each.
  Texts Walk(SearchRepository::SearchParams params, std::int32_t limit) {
    params.page.limit = limit;
    Texts all;
    for (int pages = 0; pages < 100; ++pages) {
      const auto page = Ask(params);
      EXPECT_THAT(page, IsOk());
      if (!page.ok()) break;
      for (const Message& message : page->rows) all.push_back(message.text);
      if (!page->next) break;
      params.page.after = page->next;
      params.page.offset = 0;
    }
    return all;
  }

  TempDatabase database_;
  MessageRepository messages_{database_.pool()};
  SearchRepository search_{database_.pool(), "simple"};
  ChatRepository chats_{database_.pool()};
  const std::int64_t ann_ = NewUser(database_.pool(), "ann");
  const std::int64_t bob_ = NewUser(database_.pool(), "bob");
  const std::int64_t chat_ = NewChat(database_.pool(), {ann_});
};

TEST_F(Search, UnderstandsWhatIsTypedIntoASearchBox) {
  Say("tea and cake");
  Say("tea or wine");
  Say("cake and tea");
  EXPECT_THAT(Find("TEA cake"), ElementsAre("cake and tea", "tea and cake"));
  EXPECT_THAT(Find("\"tea and\""), ElementsAre("tea and cake"));
  EXPECT_THAT(Find("wine or cake"), ElementsAre("cake and tea", "tea or wine", "tea and cake"));
  EXPECT_THAT(Find("tea -wine"), ElementsAre("cake and tea", "tea and cake"));
  EXPECT_THAT(Find("te"), IsEmpty());
  EXPECT_THAT(Find("beer"), IsEmpty());
}

TEST_F(Search, AnswersWhatTheIndexCannotBeAsked) {
  Say("tea");
  Say("wine");
  Say("tea and wine");
  const std::int64_t other = NewChat(database_.pool(), {ann_});
  Say("beer", other);
  for (const SearchOrder order : {SearchOrder::kNewest, SearchOrder::kRelevance}) {
    SearchRepository::SearchParams params{.query = "-wine", .user_id = ann_, .order = order};
    EXPECT_THAT(TextsOf(params), ElementsAre("beer", "tea"));
    EXPECT_THAT(Walk(params, 1), ElementsAre("beer", "tea"));
    params.page.offset = 1;
    EXPECT_THAT(TextsOf(params), ElementsAre("tea"));
    params.page.offset = std::numeric_limits<std::int64_t>::max();
    EXPECT_THAT(TextsOf(params), IsEmpty());
    params.chat_id = other;
    params.page.offset = 0;
    EXPECT_THAT(TextsOf(params), ElementsAre("beer"));
  }
  EXPECT_THAT(TextsOf({.query = "wine or -tea", .user_id = ann_, .order = SearchOrder::kRelevance}),
              ElementsAre("tea and wine", "wine", "beer"));
}

TEST_F(Search, FindsNothingWithoutAWord) {
  Say("the");
  for (const char* query : {"!", "...", "\"\"", "-", " ", "or", "\\", "()"}) {
    EXPECT_THAT(Find(query), IsEmpty()) << query;
  }
  SearchRepository english(database_.pool(), "english");
  const auto page = english.Search({.query = "the", .user_id = ann_}, Soon());
  ASSERT_THAT(page, IsOk());
  EXPECT_THAT(page->rows, IsEmpty());
}

TEST_F(Search, FindsOnlyWhatTheUserMayRead) {
  const std::int64_t theirs = NewChat(database_.pool(), {ann_, bob_});
  Say("secret in hers");
  Say("secret in theirs", theirs);
  for (const SearchOrder order : {SearchOrder::kNewest, SearchOrder::kRelevance}) {
    EXPECT_THAT(TextsOf({.query = "secret", .user_id = bob_, .order = order}),
                ElementsAre("secret in theirs"));
    EXPECT_THAT(TextsOf({.query = "-nothing", .user_id = bob_, .order = order}),
                ElementsAre("secret in theirs"));
    EXPECT_THAT(Ask({.query = "secret", .user_id = bob_, .chat_id = chat_, .order = order}),
                StatusIs(StatusCode::kPermissionDenied, reason::kNotAMember));
  }
  ASSERT_THAT(chats_.RemoveMember(theirs, bob_, Soon()), IsOk());
  EXPECT_THAT(TextsOf({.query = "secret", .user_id = bob_}), IsEmpty());
  EXPECT_THAT(Ask({.query = "secret", .user_id = bob_, .chat_id = theirs}),
              StatusIs(StatusCode::kPermissionDenied, reason::kNotAMember));
}

TEST_F(Search, TellsAnUnknownUserFromAnUnknownChat) {
  for (const char* query : {"secret", "-secret", "!"}) {
    EXPECT_THAT(Ask({.query = query, .user_id = 999}),
                StatusIs(StatusCode::kNotFound, reason::kUserNotFound));
    EXPECT_THAT(Ask({.query = query, .user_id = 999, .chat_id = chat_}),
                StatusIs(StatusCode::kNotFound, reason::kUserNotFound));
    EXPECT_THAT(Ask({.query = query, .user_id = ann_, .chat_id = 999}),
                StatusIs(StatusCode::kNotFound, reason::kChatNotFound));
    EXPECT_THAT(Ask({.query = query, .user_id = bob_, .chat_id = chat_}),
                StatusIs(StatusCode::kPermissionDenied, reason::kNotAMember));
    EXPECT_THAT(Ask({.query = query, .user_id = bob_}), IsOk());
  }
}

TEST_F(Search, LeavesOutTombstonesAndWhatRetentionHides) {
  Say("word one");
  const Message two = Say("word two");
  Say("word three");
  Say("word four");
  database_.Sql("UPDATE chats SET first_seq = 2");
  database_.Sql(absl::StrCat(
      "UPDATE messages SET search = NULL, text = '', deleted = true WHERE id = ", two.id));
  for (const SearchOrder order : {SearchOrder::kNewest, SearchOrder::kRelevance}) {
    for (const char* query : {"word", "-two"}) {
      EXPECT_THAT(TextsOf({.query = query, .user_id = ann_, .order = order}),
                  ElementsAre("word four", "word three"));
    }
  }
}

TEST_F(Search, OrdersByRankAndThenByTime) {
  Say("tea");
  Say("tea with much that is said about other things");
  Say("tea tea tea");
  Say("tea");
  const SearchRepository::SearchParams params{
      .query = "tea", .user_id = ann_, .order = SearchOrder::kRelevance};
  const Texts ranked = TextsOf(params);
  ASSERT_EQ(ranked.size(), 4);
  EXPECT_EQ(ranked.front(), "tea tea tea");
  for (const std::int32_t limit : {1, 2, 3}) EXPECT_EQ(Walk(params, limit), ranked);
}

TEST_F(Search, PagesThroughEqualTimesAndRanksWithoutRepeatingOrSkipping) {
  const std::int64_t other = NewChat(database_.pool(), {ann_});
  for (int i = 1; i <= 12; ++i) {
    const std::int64_t chat = i % 3 == 0 ? other : chat_;
    messages_.Send({.chat_id = chat, .user_id = ann_, .text = absl::StrCat("tea ", i)}, Soon())
        .value();
  }
  Index("simple");
  // Three instants for twelve messages, finer than a float or a whole second would tell.
  database_.Sql(
      "UPDATE messages SET created_at = '2026-11-24 12:00:00.000001+00'::timestamptz"
      " + (seq % 3) * interval '1 microsecond'");
  for (const SearchOrder order : {SearchOrder::kNewest, SearchOrder::kRelevance}) {
    const SearchRepository::SearchParams params{.query = "tea", .user_id = ann_, .order = order};
    const Texts all = TextsOf(params);
    EXPECT_THAT(all.size(), 12);
    for (const std::int32_t limit : {1, 2, 5, 11, 12, 13}) EXPECT_EQ(Walk(params, limit), all);
    SearchRepository::SearchParams from_third = params;
    from_third.page.offset = 3;
    EXPECT_EQ(Walk(from_third, 4), Texts(all.begin() + 3, all.end()));
  }
}

TEST_F(Search, KeepsItsPlaceWhileMessagesArriveAndGo) {
  for (int i = 1; i <= 6; ++i) Say(absl::StrCat("tea ", i));
  SearchRepository::SearchParams params{.query = "tea", .user_id = ann_, .page = {.limit = 2}};
  const auto first = Ask(params);
  ASSERT_THAT(first, IsOk());
  Say("tea 7");
  database_.Sql("UPDATE messages SET search = NULL, text = '', deleted = true WHERE seq IN (5, 4)");
  params.page.after = first->next;
  EXPECT_THAT(TextsOf(params), ElementsAre("tea 3", "tea 2"));
}

TEST_F(Search, StemsInItsLanguage) {
  Say("Die H\u00e4user waren gro\u00df");
  EXPECT_THAT(Find("Haus"), IsEmpty());
  Index("german");
  SearchRepository german(database_.pool(), "german");
  ASSERT_THAT(german.CheckLanguage(Soon()), IsOk());
  const auto page = german.Search({.query = "haus gross", .user_id = ann_}, Soon());
  ASSERT_THAT(page, IsOk());
  EXPECT_EQ(page->rows.size(), 1);
}

TEST_F(Search, KnowsWhichLanguagesThereAre) {
  EXPECT_THAT(search_.CheckLanguage(Soon()), IsOk());
  SearchRepository klingon(database_.pool(), "klingon");
  EXPECT_EQ(klingon.CheckLanguage(Soon()).code(), StatusCode::kNotFound);
}

// Whatever is typed, the answer is a page.
TEST_F(Search, TakesAnyText) {
  Say("tea 😀 cake");
  const Texts nasty = {"'",
                       "''",
                       "\"",
                       "\"tea",
                       "tea\"",
                       "\"\"\"",
                       "\\",
                       "\\\\",
                       "tea\\",
                       "'tea' & 'cake'",
                       "tea & !cake",
                       "tea:*",
                       "tea:ABCD",
                       "(tea",
                       "tea)",
                       "((((",
                       "<->",
                       "tea <-> cake",
                       "tea <99999> cake",
                       "!!!!tea",
                       "-",
                       "--",
                       "---tea",
                       "- - -",
                       "or",
                       "or or or",
                       "tea or",
                       "or tea",
                       "tea or or cake",
                       "-or",
                       "\"or\"",
                       "\"-tea\"",
                       "-\"tea cake\"",
                       "|",
                       "||",
                       "&",
                       "&&",
                       "*",
                       "%",
                       "_",
                       "$1",
                       ":name",
                       ":query",
                       "::regconfig",
                       "{tea}",
                       "[tea]",
                       "tea;",
                       "/* tea */",
                       "-- tea",
                       "\t\n\r",
                       "\x01\x02\x7f",
                       "\u00a0",
                       "\u202e tea",
                       "\ufeff",
                       "\U0010ffff",
                       "e\u0301",
                       "😀",
                       "\"😀 cake\"",
                       "http://a.b/c?d=e&f=g#h",
                       "ann@example.org",
                       "-1e10",
                       "1e400",
                       "0x7fffffffffffffffffff",
                       "/usr/bin/tea",
                       "a-b-c-d",
                       "-a-b",
                       "a--b",
                       "<tea>",
                       "</tea>",
                       "&amp;",
                       "tea\u200bcake"};
  std::vector<std::string> queries = nasty;
  for (const std::string& piece : nasty) {
    std::string repeated;
    while (repeated.size() + piece.size() < 1000) repeated += piece;
    queries.push_back(repeated);
    queries.push_back(absl::StrCat("tea ", piece, " cake"));
    queries.push_back(absl::StrCat(piece, piece, "-", piece));
  }
  std::string letters;
  for (int i = 0; i < 1024; ++i) letters += "\U00020000";  // a word of 4096 bytes
  queries.push_back(letters);
  std::string nested;
  for (int i = 0; i < 512; ++i) nested += "-a";
  queries.push_back(nested);
  for (const std::string& query : queries) {
    for (const SearchOrder order : {SearchOrder::kNewest, SearchOrder::kRelevance}) {
      EXPECT_THAT(Ask({.query = query, .user_id = ann_, .order = order}), IsOk()) << query;
    }
  }
  EXPECT_THAT(Find("cake -wine"), ElementsAre("tea 😀 cake"));
}

TEST_F(Search, TakesWhatARandomHandTypes) {
  Say("tea and cake");
  std::mt19937 random(20261124);
  const Texts pieces = {
      "-", "-",      "-",      " ",      "\"",     "!",      "|",      "&", "(",  ")",    "<", ">",
      ":", "*",      "'",      "\\",     "or",     "and",    "tea",    "a", "1",  ".",    ",", "/",
      "@", "\u00a0", "\u2003", "\u3000", "\u0085", "\u00e4", "\u0434", "😀", "\t", "\x01", "_"};
  for (int i = 0; i < 3000; ++i) {
    std::string query;
    // Some of them with few kinds of pieces, so that long runs of one kind occur.
    const std::size_t kinds = i % 3 == 0 ? 5 : pieces.size();
    const std::size_t first = i % 3 == 0 ? random() % (pieces.size() - kinds) : 0;
    for (auto length = 1 + random() % 200; length > 0; --length) {
      query += i % 2 == 0 && random() % 2 == 0 ? "-" : pieces[first + random() % kinds];
    }
    EXPECT_THAT(Ask({.query = query, .user_id = ann_}), IsOk()) << query;
  }
}

TEST_F(Search, CountsMinusSigns) {
  Say("tea");
  Say("wine");
  for (const char* between : {"", " ", "!", "\u2003", " \u3000\t"}) {
    for (int count = 0; count < 70; ++count) {
      std::string query;
      for (int i = 0; i < count; ++i) absl::StrAppend(&query, "-", between);
      EXPECT_THAT(Find(query + "tea"), ElementsAre(count % 2 == 0 ? "tea" : "wine")) << query;
    }
  }
  std::string many;
  for (int i = 0; i < 60; ++i) absl::StrAppend(&many, "-\u0434", i, " ");
  EXPECT_THAT(Find(many + "wine"), ElementsAre("wine"));
  EXPECT_THAT(Find(many + "-tea"), ElementsAre("wine"));
}

}  // namespace
}  // namespace parley::db
