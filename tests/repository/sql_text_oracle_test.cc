// Random SQL, split here and by PostgreSQL itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "db/migrator/sql_text.h"
#include "tests/repository/empty_database.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

// What may stand for a value or a blank, with whatever could be taken for the end of it. Between
// the numbers of a sum each is valid, or makes the server complain, and then the case is passed
// over.
constexpr const char* kPieces[] = {
    " ",        "\n",         ";",           "--",         "-- ;\n",
    "-- '\n",   "/*",         "*/",          "/* ; */",    "/* /* ; */ ' */",
    "'",        "';'",        "'a''b;'",     "''",         "E'\\';'",
    "e'\\\\'",  "E'",         "\"",          "\";\"",      "\"a\"\"b\"",
    "$$",       "$$;$$",      "$a$",         "$a$;$$;$a$", "$1",
    "a$b$",     "$\xC3\xA4$", "U&'\\0041;'", "U&\"a\"",    "x'4;'",
    "n';'",     "1",          "1.5e3",       ".5",         "SELECT",
    "SELECT 1", "1;",         "::text",      "a",          "\xC3\xA4",
    "(",        ")",          "||",          "\\",         "BEGIN ATOMIC",
    "END",      "CASE"};

std::string RandomSql(std::mt19937& random) {
  std::string sql = "SELECT '1'";
  const int count = static_cast<int>(random() % 12) + 1;
  for (int i = 0; i < count; ++i) {
    absl::StrAppend(&sql, random() % 3 == 0 ? " " : "", kPieces[random() % std::size(kPieces)]);
  }
  return sql;
}

// How many statements the server finds; -1 if it complains of anything.
int CountByServer(PGconn* connection, const std::string& sql) {
  int count = 0;
  bool has_failed = PQsendQuery(connection, sql.c_str()) == 0;
  while (PGresult* result = PQgetResult(connection)) {
    const ExecStatusType status = PQresultStatus(result);
    has_failed = has_failed || status == PGRES_FATAL_ERROR;
    if (status != PGRES_EMPTY_QUERY) ++count;
    PQclear(result);
  }
  return has_failed ? -1 : count;
}

TEST(SqlTextOracleTest, SplitsAsTheServerDoes) {
  const testing::EmptyDatabase database;
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(
      PQconnectdb(database.dsn().With("options", "-c client_min_messages=error").Uri().c_str()),
      &PQfinish);
  ASSERT_EQ(PQstatus(connection.get()), CONNECTION_OK);
  const unsigned seed = std::random_device()();
  std::mt19937 random(seed);
  int compared = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::string sql = RandomSql(random);
    const int expected = CountByServer(connection.get(), sql);
    const auto statements = SplitStatements(sql);
    if (expected < 0) continue;
    ++compared;
    ASSERT_TRUE(statements.ok()) << "seed " << seed << ": " << statements.status() << "\n" << sql;
    ASSERT_EQ(statements->size(), static_cast<std::size_t>(expected)) << "seed " << seed << "\n"
                                                                      << sql;
    for (const SqlStatement& statement : *statements) {
      // Each by itself is one statement to both.
      ASSERT_EQ(CountByServer(connection.get(), std::string(statement.text)), 1)
          << "seed " << seed << "\n"
          << statement.text;
    }
  }
  EXPECT_GT(compared, 500) << "hardly anything was right SQL";
}

}  // namespace
}  // namespace parley::db
