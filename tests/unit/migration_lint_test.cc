#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "db/migrator/lint.h"

namespace parley::db {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kFileName[] = "20270101000000_step.sql";

// A file with nothing wrong around `up`.
std::string FileOf(const std::string& up, const std::string& phase = "expand") {
  return absl::StrCat("-- parley:phase ", phase, "\n-- migrate:up\n-- +goose Up\n", up,
                      "\n-- migrate:down\n-- +goose Down\nSELECT 1;\n");
}

// The same without a transaction, and without a down section.
std::string BareFileOf(const std::string& up) {
  return absl::StrCat(
      "-- parley:phase expand\n-- +goose NO TRANSACTION\n-- parley:allow no-way-back because test\n"
      "-- migrate:up transaction:false\n-- +goose Up\n",
      up, "\n-- migrate:down\n-- +goose Down\n");
}

std::vector<LintFinding> LintText(const std::string& text) {
  return LintMigration({kFileName, text});
}

// "rule rule", in the order of the findings.
std::string RulesIn(const std::string& text) {
  return absl::StrJoin(LintText(text), " ", [](std::string* out, const LintFinding& finding) {
    absl::StrAppend(out, finding.rule);
  });
}

// A text in which one rule finds something, and one that is near to it in which none does.
struct Case {
  const char* rule;
  std::string found;
  std::string near;
};
void PrintTo(const Case& test, std::ostream* out) { *out << test.rule; }

const std::string kNewTable = "CREATE TABLE new (id bigint PRIMARY KEY);\n";

std::vector<Case> LockCases() {
  return {
      {"index-not-concurrently", FileOf("CREATE INDEX i ON t (a);"),
       FileOf(kNewTable + "CREATE UNIQUE INDEX i ON public.new (a);")},
      {"index-not-concurrently", FileOf("CREATE UNIQUE INDEX ON \"T\" (a);"),
       BareFileOf("CREATE UNIQUE INDEX CONCURRENTLY ON t (a);")},
      {"index-not-concurrently", FileOf("create table new ();\ncreate index on New2 (a);"),
       FileOf("create table \"new\" ();\ncreate index on NEW (a);")},
      {"index-not-concurrently", FileOf("REINDEX INDEX i;"),
       BareFileOf("REINDEX INDEX CONCURRENTLY i;")},
      {"index-not-concurrently", FileOf("CREATE INDEX i ON p (a);"),
       FileOf("CREATE INDEX i ON ONLY p (a);")},
      {"index-not-concurrently", FileOf("CREATE INDEX i ON t (a) WHERE b;"),
       FileOf("CREATE TRIGGER i AFTER INSERT ON t EXECUTE FUNCTION f();")},
      {"index-if-not-exists", BareFileOf("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a);"),
       FileOf("CREATE TABLE IF NOT EXISTS t (a bigint);")},
      {"add-column-not-null", FileOf("ALTER TABLE t ADD COLUMN a bigint NOT NULL;"),
       FileOf("ALTER TABLE t ADD COLUMN a bigint NOT NULL DEFAULT 0;")},
      {"add-column-not-null", FileOf("ALTER TABLE t ADD a bigint NOT NULL DEFAULT NULL;"),
       FileOf("ALTER TABLE t ADD a bigint, ADD b text DEFAULT 'NOT NULL';")},
      {"volatile-default", FileOf("ALTER TABLE t ADD COLUMN a uuid DEFAULT gen_random_uuid();"),
       FileOf("ALTER TABLE t ADD COLUMN a timestamptz DEFAULT now();")},
      {"volatile-default",
       FileOf("ALTER TABLE ONLY t ADD a timestamptz NOT NULL DEFAULT (clock_timestamp() + '1 h');"),
       FileOf("ALTER TABLE t ALTER COLUMN a SET DEFAULT clock_timestamp();")},
      {"volatile-default", FileOf("ALTER TABLE t ADD COLUMN a bigserial;"),
       FileOf("CREATE TABLE new (a bigserial);")},
      {"alter-column-type", FileOf("ALTER TABLE t ALTER COLUMN a TYPE text;"),
       FileOf(kNewTable + "ALTER TABLE new ALTER COLUMN a TYPE text;")},
      {"alter-column-type", FileOf("ALTER TABLE t ALTER a SET DATA TYPE text;"),
       FileOf("ALTER TABLE t ALTER a SET STATISTICS 100;")},
      {"set-not-null", FileOf("ALTER TABLE t ALTER COLUMN a SET NOT NULL;"),
       FileOf("ALTER TABLE t ALTER COLUMN a DROP NOT NULL;")},
      {"constraint-not-valid", FileOf("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0);"),
       FileOf("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID;")},
      {"constraint-not-valid", FileOf("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (id);"),
       FileOf("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (id) NOT VALID;")},
      {"constraint-not-valid", FileOf("ALTER TABLE t ADD COLUMN a bigint CHECK (a > 0);"),
       FileOf("ALTER TABLE t ADD COLUMN a bigint REFERENCES u (id);")},
      {"validate-in-same-file",
       FileOf("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID;\n"
              "ALTER TABLE t VALIDATE CONSTRAINT c;"),
       FileOf("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID;\n"
              "ALTER TABLE t VALIDATE CONSTRAINT d;")},
      {"unique-without-index", FileOf("ALTER TABLE t ADD CONSTRAINT c UNIQUE (a);"),
       FileOf("ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX i;")},
      {"unique-without-index", FileOf("ALTER TABLE t ADD PRIMARY KEY (a);"),
       FileOf(kNewTable + "ALTER TABLE new ADD UNIQUE (a);")},
      {"unique-without-index", FileOf("ALTER TABLE t ADD COLUMN a text UNIQUE;"),
       FileOf("ALTER TABLE t ADD COLUMN unique_a text;")},
      {"table-rewrite", BareFileOf("VACUUM (FULL, ANALYZE) t;"), BareFileOf("VACUUM (ANALYZE) t;")},
      {"table-rewrite", FileOf("CLUSTER t USING i;"), FileOf("SELECT 'CLUSTER';")},
      {"table-rewrite", FileOf("ALTER TABLE t SET UNLOGGED;"),
       FileOf("ALTER TABLE t SET (fillfactor = 80);")},
      {"table-rewrite",
       FileOf("ALTER TABLE t ADD COLUMN a bigint GENERATED ALWAYS AS (b + 1) STORED;"),
       FileOf("CREATE TABLE new (b bigint, a bigint GENERATED ALWAYS AS (b + 1) STORED);")},
      {"whole-table-write", FileOf("UPDATE t SET a = 1;"), FileOf("UPDATE t SET a = 1 WHERE b;")},
      {"whole-table-write", FileOf("DELETE FROM ONLY t;"),
       FileOf(kNewTable + "UPDATE new SET a = (SELECT max(b) FROM t WHERE c);")},
      {"whole-table-write", FileOf("WITH x AS (SELECT 1 WHERE true) UPDATE t SET a = 1;"),
       FileOf("INSERT INTO t SELECT 1 ON CONFLICT DO NOTHING;")},
      {"whole-table-write", FileOf("WITH x AS (SELECT 1) DELETE FROM t;"),
       FileOf("WITH x AS (SELECT 1) SELECT 1 FROM t FOR UPDATE;")},
      {"whole-table-write", FileOf("UPDATE ONLY t SET a = 1;"),
       FileOf(
           "WITH x AS (SELECT 1) INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 1;")},
      {"write-under-lock", FileOf("ALTER TABLE t ADD COLUMN a int;\nUPDATE t SET a = 1 WHERE b;"),
       FileOf("ALTER TABLE t ADD COLUMN a int;\nUPDATE u SET a = 1 WHERE b;")},
      {"lock-table", FileOf("LOCK TABLE t IN SHARE MODE;"), FileOf("SELECT 'LOCK TABLE t';")},
  };
}

std::vector<Case> PhaseCases() {
  return {
      {"drop-outside-contract", FileOf("DROP TABLE t;"), FileOf("DROP TABLE t;", "contract")},
      {"drop-outside-contract", FileOf("DROP TABLE IF EXISTS public.t;"),
       FileOf(kNewTable + "DROP TABLE new;")},
      {"drop-outside-contract", FileOf("ALTER TABLE t DROP COLUMN a;"),
       FileOf("ALTER TABLE t DROP COLUMN IF EXISTS a;", "contract")},
      {"drop-outside-contract", FileOf("ALTER TABLE t DROP a;"),
       FileOf("ALTER TABLE t DROP CONSTRAINT a;")},
      {"drop-outside-contract", FileOf("DROP FUNCTION f(bigint);"),
       FileOf("DROP FUNCTION f(bigint);\nCREATE FUNCTION f(text) RETURNS int LANGUAGE sql "
              "AS 'SELECT 1';")},
      {"drop-outside-contract", FileOf("DROP TRIGGER a ON t;"), FileOf("DROP INDEX a;")},
      {"drop-outside-contract", FileOf("DROP VIEW v;\nCREATE VIEW w AS SELECT 1;"),
       FileOf("DROP VIEW v;\nCREATE OR REPLACE VIEW v AS SELECT 1;")},
      {"rename-outside-contract", FileOf("ALTER TABLE t RENAME COLUMN a TO b;"),
       FileOf("ALTER TABLE t RENAME CONSTRAINT a TO b;")},
      {"rename-outside-contract", FileOf("ALTER TABLE t RENAME a TO b;"),
       FileOf("ALTER TABLE t RENAME a TO b;", "contract")},
      {"rename-outside-contract", FileOf("ALTER TABLE t RENAME TO u;"),
       FileOf("ALTER INDEX i RENAME TO j;")},
      {"rename-outside-contract", FileOf("ALTER TYPE e RENAME VALUE 'a' TO 'b';"),
       FileOf("ALTER TYPE e ADD VALUE 'b';")},
      {"breaks-old-release", FileOf("TRUNCATE t;"), FileOf(kNewTable + "TRUNCATE new;")},
      {"breaks-old-release", FileOf("REVOKE ALL ON t FROM u;"), FileOf("GRANT ALL ON t TO u;")},
      {"breaks-old-release", FileOf("REVOKE EXECUTE ON FUNCTION f FROM PUBLIC;"),
       FileOf("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';\n"
              "REVOKE EXECUTE ON FUNCTION f FROM PUBLIC;")},
      {"breaks-old-release", FileOf("ALTER TABLE t ALTER a DROP DEFAULT;"),
       FileOf("ALTER TABLE t ALTER a DROP DEFAULT;", "contract")},
      {"breaks-old-release", FileOf("ALTER TABLE t SET SCHEMA s;"),
       FileOf("ALTER TABLE t SET SCHEMA s;", "contract")},
      {"cascade", FileOf("DROP TABLE t CASCADE;", "contract"), FileOf("DROP TABLE t;", "contract")},
      {"cascade", FileOf("TRUNCATE t CASCADE;", "contract"),
       FileOf("CREATE TABLE new (a bigint REFERENCES t (id) ON DELETE CASCADE);")},
  };
}

std::vector<Case> TransactionCases() {
  const std::string body = "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$\n";
  return {
      {"cannot-run-in-transaction", FileOf("CREATE INDEX CONCURRENTLY i ON t (a);"),
       FileOf("REFRESH MATERIALIZED VIEW CONCURRENTLY v;")},
      {"cannot-run-in-transaction", FileOf("VACUUM t;"), FileOf("ANALYZE t;")},
      {"cannot-run-in-transaction", FileOf("ALTER SYSTEM SET work_mem = '1MB';"),
       FileOf("ALTER DATABASE d SET work_mem = '1MB';")},
      {"cannot-run-in-transaction", FileOf("DROP INDEX CONCURRENTLY i;"),
       BareFileOf("DROP INDEX CONCURRENTLY i;")},
      {"needless-no-transaction", BareFileOf("CREATE TABLE new (a bigint);"),
       BareFileOf("CALL fill_in_batches();")},
      {"transaction-control", FileOf("SAVEPOINT a;"),
       FileOf("-- +goose StatementBegin\n" + body +
              "BEGIN\n  COMMIT;\nEND $$;\n"
              "-- +goose StatementEnd")},
      {"transaction-control", FileOf("SELECT 1;\nROLLBACK TO a;"), FileOf("SELECT 'ROLLBACK';")},
      {"session-setting", FileOf("SET search_path = s;"), FileOf("SET LOCAL search_path = s;")},
      {"session-setting", FileOf("SELECT pg_catalog.set_config('search_path', '', false);"),
       FileOf("SELECT pg_catalog.set_config('search_path', '', true);")},
      {"session-setting", FileOf("RESET ROLE;"), FileOf("SET CONSTRAINTS ALL DEFERRED;")},
      {"enum-value-used",
       FileOf("ALTER TYPE e ADD VALUE IF NOT EXISTS 'b' AFTER 'a';\n"
              "INSERT INTO t VALUES ('b');"),
       FileOf("ALTER TYPE e ADD VALUE 'b' AFTER 'a';\nINSERT INTO t VALUES ('a');")},
      {"client-command", FileOf("\\connect other;"), FileOf("SELECT E'\\\\connect';")},
      {"client-command", FileOf("COPY t (a) FROM STDIN;"), FileOf("COPY t FROM '/tmp/t';")},
      {"goose-statement", FileOf(body + "BEGIN\n  PERFORM 1;\nEND $$;"),
       FileOf("-- +goose StatementBegin\n" + body +
              "BEGIN\n  PERFORM 1;\nEND $$;\n-- +goose StatementEnd")},
      {"goose-statement", FileOf("SELECT 'a;\nb';"), FileOf("SELECT 'a; b',\n  1; -- the end")},
      {"goose-statement", FileOf("SELECT 1"), FileOf("SELECT 1\n;")},
      {"goose-statement", FileOf("SELECT 1; /* the end */"), FileOf("/* the end */ SELECT 1;")},
  };
}

std::vector<Case> TypeCases() {
  return {
      {"small-key", FileOf("CREATE TABLE new (id int PRIMARY KEY);"),
       FileOf("CREATE TABLE new (id bigint PRIMARY KEY, a int);")},
      {"small-key", FileOf("CREATE TABLE new (id integer, CONSTRAINT k PRIMARY KEY (id));"),
       FileOf("CREATE TABLE new (id integer, a bigint, PRIMARY KEY (a, id));")},
      {"small-key", FileOf("CREATE TABLE new (a serial);"),
       FileOf("CREATE TABLE new (serial text);")},
      {"identity-column",
       FileOf("CREATE TABLE new (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY);"),
       FileOf("CREATE TABLE new (id bigserial PRIMARY KEY);")},
      {"identity-column", FileOf("ALTER TABLE t ALTER COLUMN a ADD GENERATED ALWAYS AS IDENTITY;"),
       FileOf("ALTER TABLE t ALTER COLUMN a SET DEFAULT nextval('s');")},
      {"timestamp-without-zone", FileOf("CREATE TABLE new (a timestamp);"),
       FileOf("CREATE TABLE new (timestamp timestamptz);")},
      {"timestamp-without-zone", FileOf("ALTER TABLE t ADD a TIMESTAMP(3) WITHOUT TIME ZONE;"),
       FileOf("ALTER TABLE t ADD a TIMESTAMP(3) WITH TIME ZONE;")},
      {"limited-text", FileOf("CREATE TABLE new (a varchar(10));"),
       FileOf("CREATE TABLE new (a varchar, b text CHECK (char_length(b) <= 10));")},
      {"limited-text", FileOf("ALTER TABLE t ADD COLUMN a character varying(10);"),
       FileOf("ALTER TABLE t ADD COLUMN a \"char\";")},
      {"limited-text", FileOf("CREATE TABLE new (a char(2) NOT NULL);"),
       FileOf("CREATE TABLE new (a text DEFAULT rpad('', 2));")},
  };
}

std::vector<Case> FileCases() {
  const std::string down = "-- migrate:down\n-- +goose Down\nSELECT 1;\n";
  const std::string expand = "-- parley:phase expand\n";
  const std::string good = FileOf("SELECT 1;");
  return {
      {"file-form", "-- migrate:up\nSELECT 1;\n", good},
      {"file-form", FileOf("SELECT 'open;"), good},
      {"file-form", BareFileOf("VACUUM a;\nVACUUM b;"), BareFileOf("VACUUM a;")},
      {"no-phase", "-- migrate:up\n-- +goose Up\nSELECT 1;\n" + down, good},
      {"no-way-back",
       expand + "-- migrate:up\n-- +goose Up\nSELECT 1;\n-- migrate:down\n"
                "-- +goose Down\n-- nothing\n",
       good},
      {"goose-markers", expand + "-- migrate:up\nSELECT 1;\n" + down, good},
      {"goose-markers", expand + "-- +goose Up\n-- migrate:up\nSELECT 1;\n" + down, good},
      {"goose-markers",
       expand + "-- migrate:up\n-- +goose Up\nSELECT 1;\n-- migrate:down\nSELECT 1;\n", good},
      {"goose-markers",
       expand + "-- migrate:up transaction:false\n-- +goose Up\nVACUUM t;\n" + down,
       BareFileOf("VACUUM t;")},
      {"goose-markers", "-- +goose NO TRANSACTION\n" + good, good},
      {"goose-markers", FileOf("-- +goose StatementEnd\nSELECT 1;"),
       FileOf("-- +goose StatementBegin\nSELECT 1;\n-- +goose StatementEnd")},
      {"goose-markers", FileOf("-- +goose ENVSUB ON\nSELECT 1;"), FileOf("-- goose\nSELECT 1;")},
      {"file-form", FileOf("-- parley:phase expand\nSELECT 1;"), good},
      {"parley-comment", FileOf("-- parley:alow lock-table because it may be\nSELECT 1;"),
       FileOf("-- parley allows this\nSELECT 1;")},
      {"parley-comment", FileOf("-- parley:allow no-such-rule because of this\nSELECT 1;"), good},
      {"parley-comment", FileOf("-- parley:allow lock-table because it may be\nSELECT 1;"),
       FileOf("-- parley:allow lock-table because it may be\nLOCK TABLE t;")},
  };
}

class LintRuleTest : public ::testing::TestWithParam<Case> {};

TEST_P(LintRuleTest, FindsWhatIsWrongAndNotWhatIsNear) {
  const Case& test = GetParam();
  EXPECT_EQ(RulesIn(test.found), test.rule) << test.found;
  EXPECT_EQ(RulesIn(test.near), "") << test.near;
}

INSTANTIATE_TEST_SUITE_P(Locks, LintRuleTest, ::testing::ValuesIn(LockCases()));
INSTANTIATE_TEST_SUITE_P(Phases, LintRuleTest, ::testing::ValuesIn(PhaseCases()));
INSTANTIATE_TEST_SUITE_P(Transactions, LintRuleTest, ::testing::ValuesIn(TransactionCases()));
INSTANTIATE_TEST_SUITE_P(Types, LintRuleTest, ::testing::ValuesIn(TypeCases()));
INSTANTIATE_TEST_SUITE_P(Files, LintRuleTest, ::testing::ValuesIn(FileCases()));

TEST(LintTest, KnowsAllWordsForOneThing) {
  const struct {
    const char* rule;
    const char* before;
    std::vector<const char*> words;
    const char* after;
  } kLists[] = {
      {"drop-outside-contract",
       "DROP",
       {"TABLE", "FOREIGN TABLE", "SEQUENCE", "TYPE", "DOMAIN", "SCHEMA", "EXTENSION", "VIEW",
        "MATERIALIZED VIEW", "FUNCTION", "PROCEDURE", "TRIGGER"},
       "x"},
      {"", "DROP", {"INDEX", "ROLE", "RULE", "POLICY", "STATISTICS"}, "x"},
      {"rename-outside-contract",
       "ALTER",
       {"VIEW", "SEQUENCE", "TYPE", "FUNCTION", "SCHEMA"},
       "x RENAME TO y"},
      {"", "ALTER", {"INDEX", "ROLE"}, "x RENAME TO y"},
      {"transaction-control", "", {"SAVEPOINT a", "RELEASE a", "ROLLBACK TO a"}, ""},
      {"file-form",
       "",
       {"BEGIN", "COMMIT", "END", "ROLLBACK", "ABORT", "START TRANSACTION",
        "PREPARE TRANSACTION 'a'"},
       ""},
      {"session-setting",
       "",
       {"SET a = 1", "SET SESSION a = 1", "SET ROLE a", "RESET ALL", "DISCARD ALL"},
       ""},
      {"", "SET", {"LOCAL a = 1", "TRANSACTION READ ONLY", "CONSTRAINTS ALL IMMEDIATE"}, ""},
      {"cannot-run-in-transaction",
       "",
       {"CREATE DATABASE a", "DROP DATABASE a", "CREATE TABLESPACE a LOCATION 'b'",
        "DROP TABLESPACE a", "REINDEX TABLE CONCURRENTLY a",
        "ALTER TABLE a DETACH PARTITION b CONCURRENTLY",
        "CREATE SUBSCRIPTION a CONNECTION 'b' PUBLICATION c"},
       ""},
      {"volatile-default",
       "ALTER TABLE t ADD COLUMN a text DEFAULT",
       {"random()", "(1 + random())", "timeofday()", "nextval('s')", "uuid_generate_v4()",
        "txid_current()", "pg_current_xact_id()", "public.gen_random_uuid()"},
       "NOT NULL"},
      {"volatile-default", "ALTER TABLE t ADD", {"a bigserial", "a serial8 NOT NULL"}, ""},
      {"table-rewrite",
       "ALTER TABLE t SET",
       {"LOGGED", "UNLOGGED", "ACCESS METHOD a", "TABLESPACE a"},
       ""},
      {"small-key",
       "CREATE TABLE new (a",
       {"int", "integer", "int4", "smallint", "int2"},
       "PRIMARY KEY)"},
      {"table-rewrite",
       "ALTER TABLE t ADD COLUMN a bigint",
       {"GENERATED ALWAYS AS (b + 1) STORED", "NOT NULL GENERATED ALWAYS AS (b + 1) STORED"},
       ""},
      {"constraint-not-valid",
       "ALTER TABLE t ADD COLUMN a bigint DEFAULT 1 REFERENCES u (id)",
       {""},
       ""},
      {"unique-without-index",
       "ALTER TABLE t ADD",
       {"a bigint PRIMARY KEY", "EXCLUDE USING gist (a WITH =)",
        "CONSTRAINT c EXCLUDE USING gist (a WITH =)"},
       ""},
      {"alter-column-type timestamp-without-zone",
       "ALTER TABLE t ALTER",
       {"a TYPE timestamp", "COLUMN a SET DATA TYPE timestamp(3)"},
       ""},
      {"volatile-default identity-column",
       "ALTER TABLE t ADD COLUMN a bigint",
       {"GENERATED ALWAYS AS IDENTITY", "NOT NULL GENERATED BY DEFAULT AS IDENTITY"},
       ""},
      {"limited-text", "CREATE TABLE new (a", {"varchar", "character", "char", "bpchar"}, "(3))"},
  };
  for (const auto& [rule, before, words, after] : kLists) {
    for (const char* word : words) {
      const std::string text = FileOf(absl::StrCat(before, " ", word, " ", after, ";"));
      EXPECT_EQ(RulesIn(text), rule) << text;
    }
  }
}

TEST(LintTest, EveryRuleHasACase) {
  std::set<std::string> tested;
  for (const auto& cases :
       {LockCases(), PhaseCases(), TransactionCases(), TypeCases(), FileCases()}) {
    for (const Case& test : cases) tested.insert(test.rule);
  }
  std::set<std::string> known;
  for (const LintRule& rule : LintRules()) known.insert(std::string(rule.name));
  EXPECT_EQ(tested, known);
}

TEST(LintTest, ReadsStatementsThatBreakOffAnywhere) {
  const std::string down = "\n-- migrate:down\n-- +goose Down\nSELECT 1;\n";
  for (const auto& cases : {LockCases(), PhaseCases(), TransactionCases(), TypeCases()}) {
    for (const Case& test : cases) {
      for (const std::string& text : {test.found, test.near}) {
        for (std::size_t size = 0; size < text.size(); ++size) {
          for (const LintFinding& finding : LintText(text.substr(0, size) + down)) {
            EXPECT_GE(finding.line, 1);
            EXPECT_GE(finding.column, 1);
          }
        }
      }
    }
  }
}

TEST(LintTest, SaysWhereInCodePoints) {
  const std::vector<LintFinding> findings = LintText(FileOf(
      "SELECT 1;\n\nALTER TABLE \xC3\xA4\xC3\xB6\n  ADD COLUMN a text, ADD UNIQUE (\"b\");"));
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].file_name, kFileName);
  EXPECT_EQ(findings[0].line, 7);
  EXPECT_EQ(findings[0].column, 22);
  EXPECT_THAT(findings[0].message, HasSubstr("\xC3\xA4\xC3\xB6; CREATE UNIQUE INDEX CONCURRENTLY"));
}

TEST(LintTest, SaysWhereAFileIsNoMigration) {
  const std::vector<LintFinding> findings =
      LintText("-- migrate:up\n\nSELECT 'a;\n-- migrate:down\n");
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].line, 3);
  EXPECT_EQ(findings[0].column, 8);
  EXPECT_EQ(findings[0].message, "a string that does not end");
}

TEST(LintTest, TellsOfAllThatIsWrongInOrder) {
  EXPECT_EQ(RulesIn(FileOf("ALTER TABLE t ADD a int NOT NULL, DROP b;\nCREATE INDEX i ON t (c);")),
            "add-column-not-null drop-outside-contract index-not-concurrently");
}

TEST(LintTest, ReadsCarriageReturnsAndAByteOrderMark) {
  std::string text = "\xEF\xBB\xBF";
  for (const char c : FileOf("-- parley:allow lock-table because of\nLOCK TABLE t;\nCLUSTER t;")) {
    if (c == '\n') text.push_back('\r');
    text.push_back(c);
  }
  EXPECT_EQ(RulesIn(text), "table-rewrite");
}

TEST(LintTest, PassesOverWhatWasReleased) {
  const auto rules_since = [](const std::string& since) {
    std::vector<std::string> names;
    for (const LintFinding& finding :
         LintMigrations({{"20270103000000_c.sql", FileOf("SELECT 1;")},
                         {"20270102000000_b.sql", FileOf("CLUSTER t;")},
                         {"20270101000000_a.sql", FileOf("LOCK TABLE t;")},
                         {"20270102000000_c.sql", FileOf("SELECT 1;")},
                         {"wrong.sql", ""}},
                        since)) {
      names.push_back(absl::StrCat(finding.file_name, " ", finding.rule));
    }
    return names;
  };
  EXPECT_THAT(rules_since(""),
              ElementsAre("20270101000000_a.sql lock-table", "20270102000000_b.sql table-rewrite",
                          "20270102000000_c.sql file-form", "wrong.sql file-form"));
  EXPECT_THAT(rules_since("20270102000000"), ElementsAre("wrong.sql file-form"));
}

TEST(LintTest, OnlyTheFormOfTheWayBackIsJudged) {
  const std::string head =
      "-- parley:phase expand\n-- migrate:up\n-- +goose Up\nSELECT 1;\n"
      "-- migrate:down\n-- +goose Down\n";
  EXPECT_EQ(RulesIn(head + "DROP TABLE t;\nCREATE INDEX i ON t (a);\n"), "");
  EXPECT_EQ(RulesIn(head + "SAVEPOINT a;\nVACUUM t;\nSELECT 1\n"),
            "transaction-control cannot-run-in-transaction goose-statement");
}

TEST(LintAllowTest, CoversTheStatementBelowAndNoOther) {
  EXPECT_EQ(RulesIn(FileOf("-- parley:allow lock-table because t is small\n\n-- Why.\n"
                           "LOCK TABLE t;\nLOCK TABLE u;")),
            "lock-table");
  EXPECT_EQ(RulesIn(FileOf("-- parley:allow lock-table because t is small\n"
                           "-- parley:allow table-rewrite because t is small\nLOCK TABLE t;")),
            "parley-comment");
  EXPECT_EQ(
      RulesIn(FileOf("ALTER TABLE t\n  -- parley:allow drop-outside-contract because of this\n"
                     "  DROP a;")),
      "parley-comment drop-outside-contract");
}

TEST(LintAllowTest, CoversTheFileFromAboveIt) {
  EXPECT_EQ(RulesIn("-- parley:allow lock-table because all are small\n" +
                    FileOf("LOCK TABLE t;\nLOCK TABLE u;")),
            "");
}

TEST(LintAllowTest, CoversAMarkerFromAboveIt) {
  EXPECT_EQ(RulesIn("-- parley:phase expand\n-- migrate:up\n-- +goose Up\nSELECT 1;\n"
                    "-- parley:allow no-way-back because there is none\n"
                    "-- migrate:down\n-- +goose Down\n"),
            "");
}

TEST(LintAllowTest, WantsAReason) {
  for (const char* comment :
       {"lock-table", "lock-table because", "lock-table: small", "", "lock_table because small"}) {
    const std::vector<LintFinding> findings =
        LintText(FileOf(absl::StrCat("-- parley:allow ", comment, "\nLOCK TABLE t;")));
    ASSERT_EQ(findings.size(), 2u) << comment;
    EXPECT_EQ(findings[0].rule, "parley-comment");
    EXPECT_EQ(findings[1].rule, "lock-table");
  }
}

}  // namespace
}  // namespace parley::db
