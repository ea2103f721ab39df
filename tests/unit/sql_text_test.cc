#include "db/migrator/sql_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace parley::db {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Statements(absl::string_view sql) {
  std::vector<std::string> texts;
  const std::vector<SqlStatement> statements = SplitStatements(sql).value();
  for (const SqlStatement& statement : statements) {
    texts.emplace_back(statement.text);
  }
  return texts;
}

std::vector<std::string> Tokens(absl::string_view sql) {
  std::vector<std::string> texts;
  const std::vector<SqlStatement> statements = SplitStatements(sql).value();
  for (const SqlStatement& statement : statements) {
    for (const SqlToken& token : statement.tokens) texts.emplace_back(token.text);
  }
  return texts;
}

std::string ErrorOf(absl::string_view sql) {
  const absl::Status status = SplitStatements(sql).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(SplitStatementsTest, CutsAtSemicolonsAndDropsComments) {
  EXPECT_THAT(Statements("-- a;b\nSELECT 1; /* ; /* ; */ ; */ ;; SELECT 2 -- end"),
              ElementsAre("SELECT 1", "SELECT 2"));
  EXPECT_THAT(Statements(" \n-- nothing\n;"), ElementsAre());
}

TEST(SplitStatementsTest, SemicolonsInQuotesEndNothing) {
  for (const char* quoted :
       {"';'", "'a'';'", "E'\\';'", "e'\\\\;'", "U&';'", "\";\"", "\"a\"\";\"", "U&\";\"", "$$;$$",
        "$a$ $$ ; $b$ $a$", "$\xC3\xA4$;$\xC3\xA4$", "x';'"}) {
    const std::string sql = absl::StrCat("SELECT ", quoted);
    EXPECT_THAT(Statements(absl::StrCat(sql, "; SELECT 2")), ElementsAre(sql, "SELECT 2"));
  }
}

TEST(SplitStatementsTest, BackslashEscapesNothingInPlainStrings) {
  EXPECT_THAT(Statements("SELECT '\\'; SELECT 2"), ElementsAre("SELECT '\\'", "SELECT 2"));
}

TEST(SplitStatementsTest, DollarsThatBeginNoBody) {
  // A parameter, and a name with a dollar in it.
  EXPECT_THAT(Statements("SELECT $1; SELECT a$b$c; SELECT 2"),
              ElementsAre("SELECT $1", "SELECT a$b$c", "SELECT 2"));
}

TEST(SplitStatementsTest, AtomicBodiesAreOneStatement) {
  const std::string function =
      "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; "
      "END";
  EXPECT_THAT(Statements(absl::StrCat(function, "; SELECT 3")), ElementsAre(function, "SELECT 3"));
  EXPECT_THAT(Statements("BEGIN; SELECT 1; END; SELECT 2"),
              ElementsAre("BEGIN", "SELECT 1", "END", "SELECT 2"));
}

TEST(SplitStatementsTest, SemicolonsInParenthesesEndNothing) {
  const std::string rule =
      "CREATE RULE r AS ON DELETE TO t DO ALSO (DELETE FROM u; DELETE FROM v WHERE (a))";
  EXPECT_THAT(Statements(absl::StrCat(rule, "; SELECT 1)); SELECT 2")),
              ElementsAre(rule, "SELECT 1))", "SELECT 2"));
}

TEST(SplitStatementsTest, TokensAreAsWritten) {
  EXPECT_THAT(Tokens("ALTER TABLE a.\"b c\" ADD x numeric(10,2) DEFAULT 1.5e3 -- why\n;"),
              ElementsAre("ALTER", "TABLE", "a", ".", "\"b c\"", "ADD", "x", "numeric", "(", "10",
                          ",", "2", ")", "DEFAULT", "1.5e3"));
  EXPECT_THAT(Tokens("SELECT 'a'::text"), ElementsAre("SELECT", "'a'", ":", ":", "text"));
}

TEST(SplitStatementsTest, OffsetsAreBytesOfTheWhole) {
  const std::string sql = "-- \xC3\xA4\nSELECT 1;\n  CREATE INDEX";
  const std::vector<SqlStatement> statements = SplitStatements(sql).value();
  ASSERT_EQ(statements.size(), 2u);
  EXPECT_EQ(sql.substr(statements[1].offset, 6), "CREATE");
  EXPECT_EQ(sql.substr(statements[1].tokens[1].offset, 5), "INDEX");
}

TEST(SplitStatementsTest, WhatDoesNotEndIsToldWithItsPlace) {
  EXPECT_THAT(ErrorOf("SELECT 1;\n\xC3\xA4 'abc;"), HasSubstr("2:3: a string"));
  EXPECT_THAT(ErrorOf("SELECT E'a\\'"), HasSubstr("1:8: a string"));
  EXPECT_THAT(ErrorOf("SELECT \"a"), HasSubstr("1:8: a name"));
  EXPECT_THAT(ErrorOf("/* /* */ SELECT 1"), HasSubstr("1:1: a comment"));
  EXPECT_THAT(ErrorOf("DO $x$ $$"), HasSubstr("1:4: a $x$ body"));
}

TEST(MatchesTest, ComparesWordsAndSymbolsWithoutCase) {
  const std::vector<SqlStatement> statements =
      SplitStatements("create Unique index \"CONCURRENTLY\" on t (a)").value();
  const std::vector<SqlToken>& tokens = statements.front().tokens;
  EXPECT_TRUE(Matches(tokens, 0, {"CREATE", "UNIQUE", "INDEX"}));
  EXPECT_TRUE(Matches(tokens, 6, {"(", "A", ")"}));
  EXPECT_FALSE(Matches(tokens, 3, {"CONCURRENTLY"})) << "a name in quotes is no keyword";
  EXPECT_FALSE(Matches(tokens, 7, {"a", ")", ";"}));
  EXPECT_FALSE(Matches(tokens, 100, {"a"}));
}

}  // namespace
}  // namespace parley::db
