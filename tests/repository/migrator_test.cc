#include "db/migrator/migrator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "db/migrator/migration_lock.h"
#include "db/migrator/migration_set.h"
#include "db/migrator/problem.h"
#include "db/migrator/script.h"
#include "db/migrator/section_runner.h"
#include "tests/repository/empty_database.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

using ::parley::testing::EmptyDatabase;
using ::parley::testing::IsOk;
using ::parley::testing::MigrationText;
using ::parley::testing::SqlConnection;
using ::parley::testing::TempDirectory;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kFirst[] = "20260101000000";
constexpr char kSecond[] = "20260102000000";

// Migrations of the versions 2026-01-01, -02 and so on with these up sections.
MigrationSet SetOf(const std::vector<std::string>& ups) {
  std::vector<MigrationFile> files;
  for (const std::string& up : ups) {
    const std::string day = absl::StrCat(files.size() + 1);
    files.push_back({absl::StrCat("2026010", day, "000000_step.sql"), MigrationText(up)});
  }
  return MigrationSet::FromFiles(files).value();
}

class MigratorTest : public ::testing::Test {
 protected:
  absl::Status Up(const std::vector<std::string>& ups, const MigrateOptions& options = {}) {
    return MigrateUp(database_.dsn(), SetOf(ups), Goal(), options);
  }

  EmptyDatabase database_;
};

TEST_F(MigratorTest, ManyAtOnceApplyEachFileOnce) {
  // Not repeatable: a second run of either would fail or count.
  const MigrationSet set =
      SetOf({"CREATE TABLE runs (n int); SELECT pg_sleep(0.1);",
             "INSERT INTO runs VALUES (1); SELECT pg_sleep(0.1);", "INSERT INTO runs VALUES (2);"});
  std::vector<absl::Status> statuses(20);
  {
    std::vector<std::jthread> threads;
    threads.reserve(statuses.size());
    for (absl::Status& status : statuses) {
      threads.emplace_back([&] {
        status = MigrateUp(database_.dsn(), set, Goal(), {.lock_wait = absl::Minutes(1)});
      });
    }
  }
  for (const absl::Status& status : statuses) EXPECT_THAT(status, IsOk());
  EXPECT_EQ(database_.Sql("SELECT string_agg(n::text, ' ') FROM runs"), "1 2");
  EXPECT_EQ(database_.Versions(), "20260101000000 20260102000000 20260103000000");
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
                          " (SELECT oid FROM pg_database WHERE datname = current_database())"),
            "0");
}

TEST_F(MigratorTest, ReportsEachFile) {
  std::vector<std::string> lines;
  ASSERT_THAT(Up({"CREATE TABLE a ();"},
                 {.report = [&](const Progress& progress) { lines.push_back(progress.text); }}),
              IsOk());
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], ::testing::MatchesRegex("applied 20260101000000_step.sql in [0-9]+ ms"));
}

TEST_F(MigratorTest, FailingFileLeavesNothingAndSaysWhere) {
  const std::string good = "CREATE TABLE a (n int);";
  const absl::Status status =
      Up({good, "CREATE TABLE b ();\n-- \xC3\xA4\nINSERT INTO a\n  VALUES ('\xC3\xA4'::text, m);"});
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("20260102000000_step.sql:5:22: column \"m\" does not exist"),
                    HasSubstr("SQLSTATE 42703"), HasSubstr("Nothing of this file was kept"),
                    HasSubstr("parley-migrate up")));
  EXPECT_EQ(database_.Versions(), kFirst);
  EXPECT_FALSE(database_.HasTable("b"));

  EXPECT_THAT(Up({good, "CREATE TABLE b ();"}), IsOk());
  EXPECT_TRUE(database_.HasTable("b"));
}

TEST_F(MigratorTest, ErrorWithoutPositionCarriesTheDetail) {
  const absl::Status status =
      Up({"CREATE TABLE a (n int PRIMARY KEY);\nINSERT INTO a VALUES (7), (7);"});
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("20260101000000_step.sql:3:1: duplicate key"), HasSubstr("23505"),
                    HasSubstr("detail: Key (n)=(7) already exists")));
}

TEST_F(MigratorTest, FirstFileThatFailsLeavesAnEmptyDatabase) {
  EXPECT_EQ(Up({"CREATE TABLE a ();\nSELECT 1 / 0;"}).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(database_.Versions(), "none");
  EXPECT_FALSE(database_.HasTable("a"));
}

TEST_F(MigratorTest, ErrorAtCommitLeavesNothing) {
  const absl::Status status =
      Up({"CREATE TABLE a (n int PRIMARY KEY);"
          "CREATE TABLE b (n int REFERENCES a DEFERRABLE INITIALLY DEFERRED);"
          "INSERT INTO b VALUES (1);"});
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("23503"));
  EXPECT_EQ(database_.Versions(), "none");
}

// A file is refused for them when it is read; this is for what reading does not find.
TEST_F(MigratorTest, RefusesSectionsThatEndTheTransaction) {
  for (const char* up :
       {"COMMIT;", "CREATE TABLE a ();\nCOMMIT;\nDROP TABLE a;", "COMMIT; BEGIN;", "ROLLBACK;",
        "COMMIT; SELECT 1 / 0;", "COMMIT; BEGIN; SELECT 1 / 0;", "ROLLBACK; SELECT 1 / 0;"}) {
    Migration migration = SetOf({"SELECT 1;"}).migrations().front();
    migration.up.sql = up;
    Connection connection = OpenForMigration(database_.dsn()).value();
    const ReportProgress report = [](const Progress&) {};
    ASSERT_THAT(AcquireMigrationLock(connection, absl::Seconds(5), report), IsOk());
    SectionRunner runner(connection, {.dsn = database_.dsn(), .options = {}, .report = report});
    const absl::Status status = runner.Run(migration, Direction::kUp);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << up;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("20260101000000_step.sql"), HasSubstr("ended the transaction")))
        << up;
    EXPECT_THAT(database_.Versions(), ::testing::AnyOf("", "none")) << up;
  }
}

TEST_F(MigratorTest, RefusesCopyFromTheClient) {
  const absl::Status status = Up({"CREATE TABLE a (n int);\nCOPY a FROM STDIN;"});
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("use INSERT"));
  EXPECT_FALSE(database_.HasTable("a"));
}

TEST_F(MigratorTest, RefusesPendingFilesOlderThanAppliedOnes) {
  const MigrationSet late =
      MigrationSet::FromFiles({{"20260103000000_step.sql", MigrationText("CREATE TABLE late ();")}})
          .value();
  ASSERT_THAT(MigrateUp(database_.dsn(), late, Goal(), {}), IsOk());
  const absl::Status status =
      Up({"CREATE TABLE a ();", "CREATE TABLE b ();", "CREATE TABLE late ();", "SELECT 2;"});
  EXPECT_EQ(ProblemOf(status), Problem::kOutOfOrder);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("20260101000000_step.sql\n  20260102000000_step.sql\n"),
                    ::testing::Not(HasSubstr("20260104000000")), HasSubstr("newest: 20260103")));
  EXPECT_FALSE(database_.HasTable("a"));
}

TEST_F(MigratorTest, UnknownAppliedVersionsAreLeftAlone) {
  ASSERT_THAT(Up({"SELECT 1;", "SELECT 2;"}), IsOk());
  EXPECT_THAT(Up({"SELECT 1;"}), IsOk());
  EXPECT_EQ(database_.Versions(), absl::StrCat(kFirst, " ", kSecond));
}

TEST_F(MigratorTest, NothingPendingNeedsNoLock) {
  ASSERT_THAT(Up({"SELECT 1;"}), IsOk());
  SqlConnection other(database_.dsn());
  other.Run("BEGIN; LOCK TABLE public.schema_migrations IN EXCLUSIVE MODE");
  EXPECT_THAT(Up({"SELECT 1;"}, {.lock_wait = absl::ZeroDuration()}), IsOk());
}

TEST_F(MigratorTest, NothingRunsWithoutTheLock) {
  // As after a pooler has given the session to somebody else.
  const absl::Status status =
      Up({"SELECT pg_advisory_unlock_all();", "CREATE TABLE b ();", "CREATE TABLE c ();"});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not through a pooler"));
  EXPECT_EQ(database_.Versions(), kFirst);
}

TEST_F(MigratorTest, SettingsOfOneFileDoNotReachTheNext) {
  EXPECT_THAT(Up({"CREATE SCHEMA other; SET search_path = other; CREATE TABLE a ();",
                  "CREATE TABLE b (); SET search_path = ''; SET ROLE pg_monitor; RESET ROLE;"}),
              IsOk());
  EXPECT_TRUE(database_.HasTable("other.a"));
  EXPECT_TRUE(database_.HasTable("public.b"));
}

TEST_F(MigratorTest, LongFilesOutlastTheDatabasesStatementTimeout) {
  database_.Sql(absl::StrCat("ALTER DATABASE ", database_.name(), " SET statement_timeout = 50"));
  EXPECT_THAT(Up({"SELECT pg_sleep(0.3);"}), IsOk());
}

TEST_F(MigratorTest, WhatTheRoleHasConfiguredIsOfNoConsequence) {
  const std::string alter = absl::StrCat("ALTER DATABASE ", database_.name(), " SET ");
  database_.Sql(
      absl::StrCat("CREATE SCHEMA other;", alter, "search_path = other;", alter,
                   "default_transaction_read_only = on;", alter,
                   "standard_conforming_strings = off;", alter, "DateStyle = 'SQL, DMY';", alter,
                   "TimeZone = 'Asia/Tokyo';", alter, "idle_session_timeout = 100;", alter,
                   "idle_in_transaction_session_timeout = 100;", alter, "lock_timeout = 1"));
  ASSERT_THAT(Up({"CREATE TABLE a (b text, d text, z text);"
                  "INSERT INTO a VALUES ('\\', '2026-02-01'::date, current_setting('TimeZone'));"},
                 {.report = [](const Progress&) { absl::SleepFor(absl::Milliseconds(300)); }}),
              IsOk());
  EXPECT_EQ(database_.Sql("SELECT b || d || z FROM public.a"), "\\2026-02-01UTC");
}

TEST_F(MigratorTest, FilesMayTakeAnotherRole) {
  database_.Sql("GRANT CREATE ON SCHEMA public TO pg_monitor");
  ASSERT_THAT(Up({"SET ROLE pg_monitor; CREATE TABLE a ();",
                  "SET SESSION AUTHORIZATION pg_monitor; CREATE TABLE b ();"}),
              IsOk());
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM pg_class WHERE relname IN ('a', 'b')"
                          " AND relowner = 'pg_monitor'::regrole"),
            "2");
}

TEST_F(MigratorTest, HistoryIsReadAndReadersStopNothing) {
  ASSERT_THAT(Up({"SELECT 1;"}), IsOk());
  SqlConnection reader(database_.dsn());
  reader.Run("BEGIN; SELECT FROM schema_migrations");
  SqlConnection gate(database_.dsn());
  gate.Run("SELECT pg_advisory_lock(1)");
  absl::Status status;
  std::jthread migrator([&] {
    status = Up({"SELECT 1;", "SELECT pg_advisory_lock(1);"},
                {.run = {.lock_timeout = absl::ZeroDuration()}});
  });
  const auto waits = [&] {
    return database_.Sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'") ==
           "1";
  };
  while (!waits()) absl::SleepFor(absl::Milliseconds(10));
  // In the middle of the second file.
  EXPECT_EQ(database_.Sql("SET lock_timeout = '1s'; SELECT count(*) FROM schema_migrations"), "1");
  gate.Run("SELECT pg_advisory_unlock(1)");
  migrator.join();
  EXPECT_THAT(status, IsOk());
}

TEST_F(MigratorTest, GivesUpOnATableThatStaysLocked) {
  ASSERT_THAT(Up({"CREATE TABLE a ();"}), IsOk());
  const std::vector<std::string> ups = {"CREATE TABLE a ();", "ALTER TABLE a ADD n int;"};
  {
    SqlConnection other(database_.dsn());
    other.Run("BEGIN; LOCK TABLE a IN ACCESS SHARE MODE");
    const absl::Status status = Up(
        ups, {.run = {.lock_timeout = absl::Milliseconds(50), .lock_retry = absl::ZeroDuration()}});
    EXPECT_EQ(ProblemOf(status), Problem::kLocked);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("SQLSTATE 55P03"), HasSubstr("--lock-timeout")));
  }
  EXPECT_THAT(Up(ups), IsOk());
}

TEST_F(MigratorTest, SaysWhatToDoWithoutThePrivilege) {
  database_.Sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
  const Dsn reader = database_.dsn().With("options", "-c role=pg_monitor");
  const absl::Status status = MigrateUp(reader, SetOf({"CREATE TABLE a ();"}), Goal(), {});
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("SQLSTATE 42501"), HasSubstr("as the schema's owner")));
}

TEST_F(MigratorTest, GoesOnWithTheHistoryOfDbmate) {
  database_.Sql(
      "CREATE TABLE schema_migrations (version varchar PRIMARY KEY);"
      "INSERT INTO schema_migrations VALUES ('20260101000000')");
  EXPECT_THAT(Up({"SELECT 1 / 0;", "CREATE TABLE b ();"}), IsOk());
  EXPECT_EQ(database_.Versions(), absl::StrCat(kFirst, " ", kSecond));
}

TEST_F(MigratorTest, RefusesTheHistoryOfAnotherTool) {
  database_.Sql("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean)");
  const absl::Status status = Up({"CREATE TABLE a ();"});
  EXPECT_EQ(ProblemOf(status), Problem::kMismatch);
  EXPECT_THAT(std::string(status.message()), HasSubstr("belongs to another tool"));
  database_.Sql("ALTER TABLE schema_migrations DROP COLUMN version");
  EXPECT_EQ(ProblemOf(Up({"CREATE TABLE a ();"})), Problem::kMismatch);
}

// Everything in the schema public that the migrations may make, one line a thing.
std::string CatalogOf(const EmptyDatabase& database) {
  return database.Sql(R"(
    SELECT string_agg(line, E'\n' ORDER BY line COLLATE "C") FROM (
      SELECT format('%s %s %s', relkind, relname, reloptions)
        FROM pg_class WHERE relnamespace = 'public'::regnamespace
      UNION ALL
      SELECT format('column %s.%s %s %s %s %s %s', c.relname, a.attnum, a.attname,
                    format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcollation::regcollation,
                    pg_get_expr(d.adbin, d.adrelid))
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0
      UNION ALL
      SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
      UNION ALL
      SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
      UNION ALL
      SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
      UNION ALL
      SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
      UNION ALL
      SELECT format('history %s', version) FROM public.schema_migrations
    ) AS lines (line))");
}

std::string ScriptOf(const MigrationSet& set) {
  return MigrationScript(set, {.from = "", .to = set.migrations().back().version}, absl::Seconds(5))
      .value();
}

int RunPsql(const EmptyDatabase& database, const std::string& file) {
  return std::system(
      absl::StrCat("psql -X -q -d '", database.dsn().Uri(), "' -f ", file, " 2>/dev/null").c_str());
}

TEST_F(MigratorTest, ScriptThroughPsqlMakesWhatUpMakes) {
  ASSERT_THAT(MigrateUp(database_.dsn()), IsOk());
  const EmptyDatabase scripted;
  const TempDirectory directory;
  const std::string script = directory.Write("up.sql", ScriptOf(MigrationSet::Embedded().value()));
  ASSERT_EQ(RunPsql(scripted, script), 0);
  EXPECT_THAT(CatalogOf(scripted), HasSubstr("messages_request"));
  EXPECT_EQ(CatalogOf(scripted), CatalogOf(database_));
  EXPECT_THAT(MigrateUp(scripted.dsn()), IsOk());
  // A second time it stops at the history and changes nothing.
  EXPECT_NE(RunPsql(scripted, script), 0);
  EXPECT_EQ(CatalogOf(scripted), CatalogOf(database_));
}

TEST_F(MigratorTest, ScriptEndsStatementsThatLackTheirSemicolon) {
  const TempDirectory directory;
  const MigrationSet set =
      SetOf({"CREATE TABLE a ()", "CREATE TABLE b (); -- \\;", "CREATE TABLE c () -- the last;"});
  const std::string script = directory.Write("up.sql", ScriptOf(set));
  ASSERT_EQ(RunPsql(database_, script), 0);
  EXPECT_TRUE(database_.HasTable("c"));
  EXPECT_EQ(database_.Versions(), "20260101000000 20260102000000 20260103000000");
}

TEST_F(MigratorTest, ScriptBetweenTwoVersionsGoesDownAndUp) {
  const TempDirectory directory;
  const MigrationSet set =
      MigrationSet::FromFiles(
          {{"20260101000000_a.sql",
            "-- migrate:up\nCREATE TABLE a (n int);\n-- migrate:down\nDROP TABLE a;\n"},
           {"20260102000000_b.sql",
            "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY i ON a (n);\n"
            "-- migrate:down transaction:false\nDROP INDEX CONCURRENTLY i;\n"},
           {"20260103000000_c.sql",
            "-- migrate:up\nCREATE TABLE c ();\n-- migrate:down\nDROP TABLE c;\n"}})
          .value();
  const auto run = [&](const std::string& from, const std::string& to) {
    const std::string script = MigrationScript(set, {from, to}, absl::Seconds(5)).value();
    return RunPsql(database_, directory.Write("script.sql", script));
  };
  EXPECT_EQ(run("", "20260102000000"), 0);
  EXPECT_EQ(run("20260102000000", "20260103000000"), 0);
  EXPECT_EQ(database_.Versions(), "20260101000000 20260102000000 20260103000000");
  EXPECT_EQ(run("20260103000000", "20260101000000"), 0);
  EXPECT_EQ(database_.Versions(), "20260101000000");
  EXPECT_FALSE(database_.HasTable("i"));
  EXPECT_FALSE(database_.HasTable("c"));
  // It is for a database at the one version only.
  EXPECT_NE(run("20260102000000", "20260103000000"), 0);
  EXPECT_EQ(database_.Versions(), "20260101000000");
  ASSERT_THAT(MigrateUp(database_.dsn(), set, Goal(), {}), IsOk());
  EXPECT_EQ(ProblemOf(MigrationScript(set, {"", "20260104000000"}, {}).status()), Problem::kUsage);
}

}  // namespace
}  // namespace parley::db
