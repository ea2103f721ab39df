// verify, dump and wait as processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "db/migrator/scratch_database.h"
#include "tests/repository/empty_database.h"
#include "tests/repository/migrate_process.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

using ::parley::testing::ClusterDsn;
using ::parley::testing::EmptyDatabase;
using ::parley::testing::IsOk;
using ::parley::testing::MigrateProcess;
using ::parley::testing::MigrateProcessTest;
using ::parley::testing::RunSql;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class MigrateSchemaTest : public MigrateProcessTest {};

TEST_F(MigrateSchemaTest, VerifyTellsEachDifferenceOnALine) {
  WriteMigration(1, "CREATE TABLE a (n int DEFAULT 7, m int);");
  Run({"up"}, 0);
  EXPECT_THAT(Run({"verify"}, 0)->Out(), HasSubstr("\nthe schema is what its 1 migrations make\n"));
  database_.Sql("ALTER TABLE a ALTER n DROP DEFAULT, DROP m; CREATE TABLE b ()");
  const std::unique_ptr<MigrateProcess> differs = Run({"verify"}, 4);
  EXPECT_THAT(differs->Out(),
              HasSubstr("\nmissing column public.a.m: integer\nunexpected table public.b: logged\n"
                        "changed column public.a.n: is integer, should be integer DEFAULT 7\n"));
  EXPECT_THAT(differs->Err(), AllOf(HasSubstr("differs in 3"), HasSubstr("parley-migrate verify")));
  const std::unique_ptr<MigrateProcess> json = Run({"verify", "--json"}, 4);
  EXPECT_THAT(json->Out(),
              HasSubstr("\n{\"event\":\"changed\",\"object\":\"column public.a.n\","
                        "\"expected\":\"integer DEFAULT 7\",\"found\":\"integer\"}\n"));
  EXPECT_THAT(json->Err(), HasSubstr("\"exit_code\":4"));
}

TEST_F(MigrateSchemaTest, VerifyUsesAScratchDatabaseThatIsGiven) {
  WriteMigration(1, "CREATE TABLE a (n int);");
  Run({"up"}, 0);
  const EmptyDatabase scratch;
  EXPECT_THAT(Run({"verify", "--scratch-url", scratch.dsn().Uri()}, 0)->Out(),
              HasSubstr(absl::StrCat("in the scratch database ", scratch.name())));
  scratch.Sql("CREATE TABLE mine (n int)");
  EXPECT_THAT(Run({"verify", "--scratch-url", scratch.dsn().Uri()}, 1)->Err(),
              HasSubstr("is not empty: it has"));
  EXPECT_TRUE(scratch.HasTable("mine"));
}

// Waits until one row is `wanted`.
void AwaitSql(const std::string& sql, const std::string& wanted) {
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (RunSql(ClusterDsn(), sql) != wanted) {
    ASSERT_LT(absl::Now(), deadline) << sql;
    absl::SleepFor(absl::Milliseconds(20));
  }
}

TEST_F(MigrateSchemaTest, WhatAKilledVerifyLeavesIsClearedAwayLater) {
  // Applied here by hand, so that it takes its time on the scratch database only.
  WriteMigration(1, absl::StrCat("/* ", database_.name(), " */ SELECT pg_sleep(600);"));
  database_.Sql(
      "CREATE TABLE schema_migrations (version varchar PRIMARY KEY);"
      "INSERT INTO schema_migrations VALUES ('20260101000000')");
  std::vector<std::string> arguments = {"verify"};
  arguments.insert(arguments.end(), Target().begin(), Target().end());
  MigrateProcess killed(arguments);
  const std::string there =
      absl::StrCat(" FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%",
                   database_.name(), " */ SELECT pg_sleep(600)%'");
  ASSERT_NO_FATAL_FAILURE(AwaitSql("SELECT count(*)" + there, "1"));
  const std::string name = RunSql(ClusterDsn(), "SELECT datname" + there);
  killed.Kill();
  const std::string count =
      absl::StrCat("SELECT count(*) FROM pg_database WHERE datname LIKE '%", name.substr(28), "'");
  EXPECT_EQ(RunSql(ClusterDsn(), count), "1");

  // The server notices the death within seconds; then time passes.
  ASSERT_NO_FATAL_FAILURE(AwaitSql(
      absl::StrCat("SELECT count(*) FROM pg_stat_activity WHERE datname = '", name, "'"), "0"));
  RunSql(ClusterDsn(), absl::StrCat("ALTER DATABASE ", name,
                                    " RENAME TO parley_verify_20260101000000", name.substr(28)));
  EXPECT_THAT(ScratchDatabase::Make(database_.dsn()), IsOk());
  EXPECT_EQ(RunSql(ClusterDsn(), count), "0");
}

TEST_F(MigrateSchemaTest, DumpWritesTheSchemaAndOverwritesNothingInVain) {
  database_.Sql("CREATE TABLE a (n int)");
  EXPECT_THAT(Run({"dump"}, 0)->Out(), HasSubstr("CREATE TABLE public.a (\n    n integer\n);\n"));
  const std::string file = directory_.Write("schema.txt", "before");
  const auto read = [&] {
    std::ifstream stream(file);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  };
  const std::string missing = database_.dsn().With("dbname", "no_such_database").Uri();
  MigrateProcess failed({"dump", "--output", file, "--database-url", missing});
  EXPECT_EQ(failed.Wait(), 1);
  EXPECT_EQ(read(), "before");
  EXPECT_EQ(Run({"dump", "--output", file}, 0)->Out(), absl::StrCat("wrote ", file, "\n"));
  EXPECT_THAT(read(), HasSubstr("CREATE TABLE public.a (\n    n integer\n);\n"));
  EXPECT_THAT(Run({"dump", "--output", "/no/such/directory/schema.sql"}, 1)->Err(),
              HasSubstr("cannot be written"));
}

TEST_F(MigrateSchemaTest, WaitTellsByItsExitCodeWhatIsMissing) {
  WriteMigration(1, "CREATE TABLE a (n int);");
  EXPECT_EQ(Run({"wait"}, 0)->Out(), "the server accepts connections\n");
  EXPECT_THAT(Run({"wait", "--for", "migrations", "--timeout", "0"}, 3)->Err(),
              HasSubstr("20260101000000_step.sql"));
  Run({"up"}, 0);
  EXPECT_EQ(Run({"wait", "--for", "migrations", "--timeout", "0"}, 0)->Out(),
            "nothing is pending\n");
  const std::string url = database_.dsn().With("port", "1").With("password", "hunter2").Uri();
  MigrateProcess unreachable({"wait", "--timeout", "100ms", "--database-url", url});
  EXPECT_EQ(unreachable.Wait(), 1);
  EXPECT_THAT(unreachable.Err(), AllOf(HasSubstr("refused"), Not(HasSubstr("hunter2"))));
  Run({"wait", "--for", "godot"}, 2);
}

}  // namespace
}  // namespace parley::db
