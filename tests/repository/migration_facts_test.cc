// What lint's rules say of PostgreSQL, asked of PostgreSQL: what a rule calls a rewrite, a look at
// all rows, or impossible in a transaction is one, and what it lets pass is none.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "db/migrator/connection.h"
#include "db/migrator/lint.h"
#include "tests/repository/empty_database.h"
#include "tests/support/status_matchers.h"

namespace parley::db {
namespace {

using ::parley::testing::EmptyDatabase;
using ::parley::testing::IsOk;

// The rules that a file with this statement alone breaks.
std::set<std::string> BrokenRules(const std::string& statement) {
  std::set<std::string> rules;
  const MigrationFile file = {
      "20270101000000_step.sql",
      absl::StrCat("-- parley:phase expand\n-- migrate:up\n-- +goose Up\n", statement,
                   ";\n-- migrate:down\n-- +goose Down\nSELECT 1;\n")};
  for (const LintFinding& finding : LintMigration(file)) rules.insert(finding.rule);
  return rules;
}

bool BreaksOneOf(const std::string& statement, const std::vector<std::string>& rules) {
  const std::set<std::string> broken = BrokenRules(statement);
  for (const std::string& rule : rules) {
    if (broken.contains(rule)) return true;
  }
  return false;
}

class MigrationFactsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Do("CREATE TABLE u (id bigint PRIMARY KEY)");
    Do("CREATE TABLE t (id bigint, a int, b text)");
    Do("CREATE UNIQUE INDEX i ON t (id)");
    Do("INSERT INTO u VALUES (1)");
    Do("INSERT INTO t VALUES (1, 1, 'b'), (2, 1, 'b')");
  }

  void Do(const std::string& sql) { ASSERT_THAT(connection_.Execute(sql), IsOk()) << sql; }
  std::string Ask(const std::string& sql) {
    const absl::StatusOr<Result> result = connection_.Query(sql);
    return result.ok() ? std::string(FieldOf(*result, 0, 0))
                       : std::string(result.status().message());
  }

  EmptyDatabase database_;
  Connection connection_ = Connection::Open(database_.dsn()).value();
};

TEST_F(MigrationFactsTest, TablesAreWrittenAnewWhereRulesSaySo) {
  const std::vector<std::string> kRules = {"volatile-default", "table-rewrite",
                                           "alter-column-type"};
  int rewrites = 0;
  for (const std::string statement :
       {"ALTER TABLE t ADD COLUMN c uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE t ADD COLUMN c timestamptz DEFAULT clock_timestamp()",
        "ALTER TABLE t ADD COLUMN c bigserial",
        "ALTER TABLE t ADD COLUMN c bigint GENERATED ALWAYS AS IDENTITY",
        "ALTER TABLE t ADD COLUMN c bigint GENERATED ALWAYS AS (a + 1) STORED",
        "ALTER TABLE t ALTER COLUMN a TYPE bigint", "ALTER TABLE t SET UNLOGGED", "VACUUM (FULL) t",
        "CLUSTER t USING i", "ALTER TABLE t ADD COLUMN c timestamptz DEFAULT now()",
        "ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT 7", "ALTER TABLE t ADD COLUMN c text",
        "ALTER TABLE t ALTER COLUMN b SET DEFAULT gen_random_uuid()::text",
        "ALTER TABLE t SET (fillfactor = 80)", "ALTER TABLE t DROP COLUMN b", "VACUUM (ANALYZE) t",
        "ALTER TABLE t ADD COLUMN c bigint REFERENCES u (id)"}) {
    const std::string before = Ask("SELECT pg_relation_filenode('t')");
    Do(statement);
    const bool is_rewritten = Ask("SELECT pg_relation_filenode('t')") != before;
    EXPECT_EQ(BreaksOneOf(statement, kRules), is_rewritten) << statement;
    rewrites += is_rewritten ? 1 : 0;
    Do("DROP TABLE t");
    Do("CREATE TABLE t (id bigint, a int, b text)");
    Do("CREATE UNIQUE INDEX i ON t (id)");
    Do("INSERT INTO t VALUES (1, 1, 'b'), (2, 1, 'b')");
  }
  EXPECT_EQ(rewrites, 9);
}

TEST_F(MigrationFactsTest, AllRowsAreLookedAtWhereRulesSaySo) {
  const std::vector<std::string> kRules = {"constraint-not-valid", "set-not-null",
                                           "unique-without-index", "index-not-concurrently"};
  int scans = 0;
  for (const std::string statement :
       {"ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)",
        "ALTER TABLE t ADD COLUMN c int CHECK (c > 0)",
        "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (id)",
        "ALTER TABLE t ADD COLUMN c bigint DEFAULT 1 REFERENCES u (id)",
        "ALTER TABLE t ALTER COLUMN a SET NOT NULL", "ALTER TABLE t ADD UNIQUE (id, a)",
        "ALTER TABLE t ADD COLUMN c text UNIQUE", "CREATE INDEX j ON t (a)",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID",
        "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (id) NOT VALID",
        "ALTER TABLE t ADD COLUMN c bigint REFERENCES u (id)",
        "ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX i",
        "ALTER TABLE t ALTER a DROP NOT NULL",
        "ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT 7"}) {
    // Counts what the session has not reported yet, so earlier rounds too.
    const std::string count =
        "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_xact_user_tables WHERE relname = 't'";
    Do("BEGIN");
    const std::string before = Ask(count);
    Do(statement);
    const bool is_scanned = Ask(count) != before;
    Do("ROLLBACK");
    EXPECT_EQ(BreaksOneOf(statement, kRules), is_scanned) << statement;
    scans += is_scanned ? 1 : 0;
  }
  EXPECT_EQ(scans, 8);
}

TEST_F(MigrationFactsTest, TransactionsRefuseWhatRulesSay) {
  Do("CREATE MATERIALIZED VIEW v AS SELECT id FROM t");
  Do("CREATE UNIQUE INDEX ON v (id)");
  int refused = 0;
  for (const std::string statement :
       {"CREATE INDEX CONCURRENTLY j ON t (a)", "DROP INDEX CONCURRENTLY i",
        "REINDEX INDEX CONCURRENTLY i", "REINDEX (VERBOSE) TABLE CONCURRENTLY t", "VACUUM t",
        "ALTER SYSTEM SET work_mem = '1MB'", "CREATE DATABASE d", "DROP DATABASE d",
        "REINDEX SCHEMA public", "CREATE SUBSCRIPTION s CONNECTION 'dbname=d' PUBLICATION p",
        "CLUSTER", "REFRESH MATERIALIZED VIEW CONCURRENTLY v", "ANALYZE t", "REINDEX TABLE t",
        "CLUSTER t USING i", "CREATE INDEX j ON t (a)", "ALTER TABLE t ADD COLUMN c int"}) {
    Do("BEGIN");
    const bool is_refused = SqlStateOf(connection_.Run(statement)) == "25001";
    Do("ROLLBACK");
    EXPECT_EQ(BreaksOneOf(statement, {"cannot-run-in-transaction"}), is_refused) << statement;
    refused += is_refused ? 1 : 0;
  }
  EXPECT_EQ(refused, 11);
}

}  // namespace
}  // namespace parley::db
