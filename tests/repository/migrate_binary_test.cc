// parley-migrate as a process: what it prints, how it exits, and what a kill leaves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "db/migrator/connection.h"
#include "db/migrator/migration_lock.h"
#include "tests/repository/empty_database.h"
#include "tests/repository/migrate_process.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

using ::parley::testing::EmptyDatabase;
using ::parley::testing::IsOk;
using ::parley::testing::MigrateProcess;
using ::parley::testing::MigrateProcessTest;
using ::testing::AllOf;
using ::testing::HasSubstr;

class MigrateBinaryTest : public MigrateProcessTest {};

TEST_F(MigrateBinaryTest, UsageErrorsExitWith2) {
  const std::string url = database_.dsn().Uri();
  const std::vector<std::vector<std::string>> kCases = {
      {},
      {"sideways"},
      {"up"},
      {"status"},
      {"up", "--frobnicate", "--database-url", url},
      {"up", "--lock-wait", "soon", "--database-url", url},
      {"up", "--lock-timeout", "-1s", "--database-url", url},
      {"version", "--check", "--database-url", url}};
  for (const std::vector<std::string>& arguments : kCases) {
    MigrateProcess process(arguments);
    EXPECT_EQ(process.Wait(), 2) << ::testing::PrintToString(arguments);
    EXPECT_NE(process.Err(), "");
  }
  EXPECT_EQ(MigrateProcess({"--help"}).Wait(), 0);
}

TEST_F(MigrateBinaryTest, ErrorsExitWith1AndKeepPasswords) {
  const std::string url = database_.dsn().With("port", "1").With("password", "hunter2").Uri();
  MigrateProcess unreachable({"up", "--database-url", url});
  EXPECT_EQ(unreachable.Wait(), 1);
  EXPECT_THAT(unreachable.Err(), AllOf(HasSubstr("parley-migrate: no connection to "),
                                       ::testing::Not(HasSubstr("hunter2"))));
  MigrateProcess no_url({"up", "--database-url", "hunter2"});
  EXPECT_EQ(no_url.Wait(), 1);
  EXPECT_THAT(no_url.Err(), ::testing::Not(HasSubstr("hunter2")));

  EXPECT_THAT(Run({"up"}, 1)->Err(), HasSubstr("has no *.sql files"));
  WriteMigration(1, "SELECT 1;\nSELECT 1 / 0 FROM;");
  EXPECT_THAT(Run({"up"}, 1)->Err(), HasSubstr("20260101000000_step.sql:3:18: syntax error"));
  directory_.Write("wrong.sql", "");
  EXPECT_THAT(Run({"up"}, 1)->Err(), HasSubstr("wrong.sql:1: "));
}

TEST_F(MigrateBinaryTest, UpStatusAndVersionTellTheState) {
  WriteMigration(1, "CREATE TABLE a ();");
  directory_.Write("README.md", "not a migration");
  EXPECT_EQ(Run({"status", "--check"}, 3)->Out(), "pending      20260101000000_step.sql\n");
  EXPECT_EQ(Run({"status"}, 0)->Out(), "pending      20260101000000_step.sql\n");
  EXPECT_EQ(Run({"version"}, 0)->Out(), "database  none\ndirectory 20260101000000\n");
  EXPECT_THAT(Run({"up"}, 0)->Out(), HasSubstr("applied 20260101000000_step.sql in "));
  EXPECT_EQ(Run({"up"}, 0)->Out(), "nothing to do\n");
  EXPECT_EQ(Run({"status", "--check"}, 0)->Out(), "applied      20260101000000_step.sql\n");

  WriteMigration(3, "CREATE TABLE c ();");
  database_.Sql("INSERT INTO schema_migrations VALUES ('20260102000000')");
  EXPECT_EQ(Run({"status", "--check"}, 4)->Out(),
            "applied      20260101000000_step.sql\npending      20260103000000_step.sql\n"
            "missing      20260102000000\n");
  EXPECT_THAT(Run({"up"}, 4)->Err(), HasSubstr("there is no file: 20260102000000"));
  EXPECT_EQ(Run({"version"}, 0)->Out(), "database  20260102000000\ndirectory 20260103000000\n");
}

// The lines that a command printed, each parsed.
std::vector<nlohmann::json> Lines(const std::string& text) {
  std::vector<nlohmann::json> lines;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    lines.push_back(nlohmann::json::parse(std::string(line)));
  }
  return lines;
}

TEST_F(MigrateBinaryTest, JsonIsOneObjectALine) {
  WriteMigration(1, "CREATE TABLE a ();");
  const std::vector<nlohmann::json> plan = Lines(Run({"plan", "--json"}, 0)->Out());
  ASSERT_EQ(plan.size(), 1u);
  EXPECT_EQ(plan[0]["event"], "apply");
  EXPECT_EQ(plan[0]["file"], "20260101000000_step.sql");
  EXPECT_EQ(plan[0]["transaction"], true);
  const std::vector<nlohmann::json> up = Lines(Run({"up", "--json"}, 0)->Out());
  ASSERT_EQ(up.size(), 1u);
  EXPECT_EQ(up[0]["event"], "applied");
  EXPECT_EQ(up[0]["version"], "20260101000000");
  EXPECT_EQ(Lines(Run({"status", "--json"}, 0)->Out())[0]["event"], "applied");
  EXPECT_EQ(Lines(Run({"version", "--json"}, 0)->Out())[0]["database"], "20260101000000");
  const std::vector<nlohmann::json> history = Lines(Run({"history", "--json"}, 0)->Out());
  ASSERT_EQ(history.size(), 1u);
  EXPECT_EQ(history[0]["action"], "up");
  EXPECT_EQ(history[0]["outcome"], "done");
  WriteMigration(2, "SELECT 1 / 0;");
  const std::vector<nlohmann::json> error = Lines(Run({"up", "--json"}, 1)->Err());
  ASSERT_EQ(error.size(), 1u);
  EXPECT_EQ(error[0]["problem"], "error");
  EXPECT_EQ(error[0]["exit_code"], 1);
  EXPECT_EQ(error[0]["file"], "20260102000000_step.sql");
  EXPECT_EQ(error[0]["line"], 2);
  EXPECT_EQ(error[0]["column"], 1);
  EXPECT_EQ(error[0]["sqlstate"], "22012");
  WriteMigration(2, "SELECT 'x;");
  const std::vector<nlohmann::json> unread = Lines(Run({"plan", "--json"}, 1)->Err());
  ASSERT_EQ(unread.size(), 1u);
  EXPECT_EQ(unread[0]["line"], 2);
  EXPECT_EQ(unread[0]["column"], 8);
  EXPECT_FALSE(unread[0].contains("sqlstate"));
  const std::vector<nlohmann::json> usage = Lines(Run({"up", "--steps", "x", "--json"}, 2)->Err());
  ASSERT_EQ(usage.size(), 1u);
  EXPECT_EQ(usage[0]["problem"], "usage");
}

TEST_F(MigrateBinaryTest, MovesAndStampsAsTold) {
  for (const int day : {1, 2, 3}) {
    directory_.Write(absl::StrCat("2026010", day, "000000_step.sql"),
                     absl::StrCat("-- migrate:up\nCREATE TABLE t", day,
                                  " ();\n-- migrate:down\nDROP TABLE t", day, ";\n"));
  }
  Run({"up", "--to", "20260102000000"}, 0);
  EXPECT_THAT(Run({"plan"}, 0)->Out(),
              "apply  20260103000000_step.sql (transaction, 1 statement)\n");
  EXPECT_THAT(Run({"plan", "--down", "--steps", "2"}, 0)->Out(),
              AllOf(HasSubstr("undo   20260102000000_step.sql"), HasSubstr("undo   20260101")));
  Run({"redo"}, 0);
  EXPECT_THAT(Run({"down"}, 0)->Out(), HasSubstr("undone 20260102000000_step.sql in "));
  EXPECT_EQ(database_.Versions(), "20260101000000");
  EXPECT_THAT(Run({"history"}, 0)->Out(), HasSubstr("20260102000000  down done in "));
  Run({"up", "--to", "20260109000000"}, 2);
  Run({"up", "--steps", "1", "--to", "20260102000000"}, 2);
  Run({"up", "--steps", "0"}, 2);
  EXPECT_THAT(Run({"stamp", "none"}, 0)->Out(),
              HasSubstr("stamped as not applied: 20260101000000"));
  EXPECT_EQ(database_.Versions(), "");
  Run({"stamp", "20260101000000"}, 0);
  Run({"up"}, 0);
  EXPECT_TRUE(database_.HasTable("t3"));
}

TEST_F(MigrateBinaryTest, SumTellsFilesThatAreNotWhatTheyWere) {
  WriteMigration(1, "CREATE TABLE a ();");
  WriteMigration(2, "CREATE TABLE b ();");
  Run({"sum"}, 0);
  Run({"sum", "--check"}, 0);
  WriteMigration(1, "CREATE TABLE a (n int);");
  EXPECT_THAT(Run({"up"}, 4)->Err(),
              AllOf(HasSubstr("20260101000000_step.sql is not what SUM says"),
                    HasSubstr("`parley-migrate sum`")));
  Run({"sum", "--check"}, 4);
  EXPECT_EQ(database_.Versions(), "none");
  WriteMigration(1, "CREATE TABLE a ();");
  WriteMigration(3, "CREATE TABLE c ();");
  EXPECT_THAT(Run({"up"}, 4)->Err(), HasSubstr("20260103000000_step.sql"));
  Run({"sum"}, 0);
  Run({"up"}, 0);
}

TEST_F(MigrateBinaryTest, SqlNeedsNoDatabase) {
  MigrateProcess process({"sql"});
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_THAT(process.Out(), AllOf(HasSubstr("CREATE TABLE chat_user"), HasSubstr("COMMIT;"),
                                   HasSubstr("INSERT INTO public.schema_migrations"),
                                   ::testing::Not(HasSubstr("DROP TABLE chat_user"))));
}

TEST_F(MigrateBinaryTest, LockHeldByAnotherExitsWith5) {
  WriteMigration(1, "CREATE TABLE a ();");
  absl::StatusOr<Connection> other =
      Connection::Open(database_.dsn().With("application_name", "the-other"));
  ASSERT_THAT(other, IsOk());
  ASSERT_THAT(AcquireMigrationLock(*other, absl::ZeroDuration(), [](const Progress&) {}), IsOk());
  const std::unique_ptr<MigrateProcess> locked = Run({"up", "--lock-wait", "300ms"}, 5);
  EXPECT_THAT(locked->Err(), AllOf(HasSubstr("(the-other)"), HasSubstr("--lock-wait")));
  EXPECT_THAT(locked->Out(), HasSubstr("waiting for another migration: pid "));
  EXPECT_FALSE(database_.HasTable("a"));
  ASSERT_THAT(ReleaseMigrationLock(*other), IsOk());
  EXPECT_EQ(ReleaseMigrationLock(*other).code(), absl::StatusCode::kFailedPrecondition);
  Run({"up", "--lock-wait", "0"}, 0);
}

TEST_F(MigrateBinaryTest, ThirtyTwoAtOnceApplyEachFileOnce) {
  WriteMigration(1, "CREATE TABLE runs (n int);");
  WriteMigration(2, "INSERT INTO runs VALUES (1);");
  std::vector<std::string> arguments = {"up"};
  arguments.insert(arguments.end(), Target().begin(), Target().end());
  std::vector<std::unique_ptr<MigrateProcess>> processes(32);
  for (auto& process : processes) process = std::make_unique<MigrateProcess>(arguments);
  for (const auto& process : processes) EXPECT_EQ(process->Wait(), 0) << process->Err();
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM runs"), "1");
}

// Waits until a session of the database runs what contains `part`.
void AwaitStatement(const EmptyDatabase& database, const std::string& part) {
  const std::string query =
      absl::StrCat("SELECT count(*) FROM pg_stat_activity WHERE datname = '", database.name(),
                   "' AND wait_event = 'PgSleep' AND query LIKE '%", part, "%'");
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (testing::RunSql(testing::ClusterDsn(), query) == "0") {
    ASSERT_LT(absl::Now(), deadline);
    absl::SleepFor(absl::Milliseconds(20));
  }
}

TEST_F(MigrateBinaryTest, KilledInTheMiddleGoesOnWhenRunAgain) {
  // The gate makes the file wait the first time only.
  database_.Sql("CREATE TABLE gate (seconds int); INSERT INTO gate VALUES (600)");
  WriteMigration(1, "CREATE TABLE a ();");
  WriteMigration(2, "CREATE TABLE b ();\nSELECT pg_sleep(seconds) FROM gate;\nCREATE TABLE c ();");
  std::vector<std::string> arguments = {"up"};
  arguments.insert(arguments.end(), Target().begin(), Target().end());
  MigrateProcess killed(arguments);
  AwaitStatement(database_, "FROM gate");
  killed.Kill();
  database_.Sql("DELETE FROM gate");

  EXPECT_EQ(database_.Versions(), "20260101000000");
  EXPECT_FALSE(database_.HasTable("b"));
  // The server notices the death within seconds, although the statement would go on for minutes.
  Run({"up", "--lock-wait", "30s"}, 0);
  EXPECT_EQ(database_.Versions(), "20260101000000 20260102000000");
  EXPECT_TRUE(database_.HasTable("c"));
}

}  // namespace
}  // namespace parley::db
