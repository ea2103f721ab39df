#include "db/migrator/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "db/migrator/migration_lock.h"
#include "db/migrator/migrator.h"
#include "db/migrator/problem.h"
#include "db/migrator/scratch_database.h"
#include "tests/repository/empty_database.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

using ::parley::testing::ClusterDsn;
using ::parley::testing::EmptyDatabase;
using ::parley::testing::IsOk;
using ::parley::testing::MigrationText;
using ::parley::testing::RunSql;
using ::parley::testing::SqlConnection;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

MigrationSet DaysOf(const std::vector<std::string>& ups) {
  std::vector<MigrationFile> files;
  for (const std::string& up : ups) {
    const std::string day = absl::StrCat(files.size() + 1);
    files.push_back({absl::StrCat("2026010", day, "000000_step.sql"), MigrationText(up)});
  }
  return MigrationSet::FromFiles(files).value();
}

bool HasDatabase(const std::string& name) {
  return RunSql(ClusterDsn(), absl::StrCat("SELECT count(*) FROM pg_database WHERE datname = '",
                                           name, "'")) == "1";
}

class VerifyTest : public ::testing::Test {
 protected:
  // Notes the scratch database's name, and whether it was there.
  VerifyOptions Noting() {
    return {.report = [this](const Progress& progress) {
      const std::vector<std::string> words = absl::StrSplit(progress.text, ' ');
      scratch_ = words.back();
      EXPECT_TRUE(HasDatabase(scratch_)) << progress.text;
      encoding_ = RunSql(ClusterDsn().With("dbname", scratch_),
                         "SELECT concat_ws(' ', pg_encoding_to_char(encoding), datlocprovider,"
                         " datcollate, daticulocale) FROM pg_database"
                         " WHERE datname = current_database()");
    }};
  }

  std::vector<std::string> Differences(const MigrationSet& set, VerifyOptions options) {
    const absl::StatusOr<VerifyReport> report = VerifySchema(database_.dsn(), set, options);
    EXPECT_THAT(report, IsOk());
    std::vector<std::string> lines;
    if (!report.ok()) return lines;
    for (const CatalogDifference& difference : report->differences) {
      lines.push_back(DescribeDifference(difference));
    }
    return lines;
  }

  absl::Status Failure(const MigrationSet& set, VerifyOptions options) {
    return VerifySchema(database_.dsn(), set, options).status();
  }

  EmptyDatabase database_;
  std::string scratch_;
  std::string encoding_;
};

TEST_F(VerifyTest, SchemaThatNobodyTouchedIsAsItShouldBe) {
  const MigrationSet set = MigrationSet::Embedded().value();
  ASSERT_THAT(MigrateUp(database_.dsn()), IsOk());
  EXPECT_THAT(Differences(set, Noting()), IsEmpty());
  EXPECT_THAT(scratch_, ::testing::MatchesRegex("parley_verify_[0-9]{14}_[0-9a-f]{32}"));
  EXPECT_FALSE(HasDatabase(scratch_));
}

TEST_F(VerifyTest, NamesWhatWasChangedByHand) {
  ASSERT_THAT(MigrateUp(database_.dsn()), IsOk());
  database_.Sql("DROP INDEX users_by_status; ALTER TABLE chats ADD colour text");
  EXPECT_THAT(Differences(MigrationSet::Embedded().value(), Noting()),
              ElementsAre(HasSubstr("missing index public.users_by_status"),
                          "unexpected column public.chats.colour: text"));
  EXPECT_FALSE(HasDatabase(scratch_));
  // The database itself was left alone.
  EXPECT_EQ(database_.Sql("SELECT to_regclass('users_by_status')"), "");
}

TEST_F(VerifyTest, PendingMigrationsDoNotCount) {
  const std::string first = "CREATE TABLE a (n integer);";
  ASSERT_THAT(MigrateUp(database_.dsn(), DaysOf({first}), Goal(), {}), IsOk());
  const MigrationSet both = DaysOf({first, "ALTER TABLE a ADD m integer;"});
  EXPECT_THAT(Differences(both, {}), IsEmpty());
  // Somebody was faster than the migration.
  database_.Sql("ALTER TABLE a ADD m integer");
  EXPECT_THAT(Differences(both, {}), ElementsAre("unexpected column public.a.m: integer"));
}

TEST_F(VerifyTest, HistoryOfDbmateWillDo) {
  database_.Sql(
      "CREATE TABLE schema_migrations (version varchar PRIMARY KEY);"
      "INSERT INTO schema_migrations VALUES ('20260101000000'); CREATE TABLE a (n integer)");
  EXPECT_THAT(Differences(DaysOf({"CREATE TABLE a (n integer);"}), {}), IsEmpty());
}

TEST_F(VerifyTest, RefusesWhatItCannotJudge) {
  const MigrationSet set = DaysOf({"CREATE TABLE a (n integer);"});
  const absl::Status nothing = Failure(set, {});
  EXPECT_EQ(nothing.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(nothing.message()), HasSubstr("no migration has been applied"));

  const std::vector<std::string> both = {"CREATE TABLE a (n integer);", "SELECT 2;"};
  ASSERT_THAT(MigrateUp(database_.dsn(), DaysOf(both), Goal(), {}), IsOk());
  const absl::Status ahead = Failure(set, {});
  EXPECT_EQ(ProblemOf(ahead), Problem::kMismatch);
  EXPECT_THAT(std::string(ahead.message()), HasSubstr("not known here, so that nobody can say what "
                                                      "it should be: 20260102000000."));
  // Of a file that was changed afterwards, nobody knows what it made.
  const absl::Status changed = Failure(DaysOf({"CREATE TABLE a (m integer);", "SELECT 2;"}), {});
  EXPECT_EQ(ProblemOf(changed), Problem::kMismatch);
  EXPECT_THAT(std::string(changed.message()),
              AllOf(HasSubstr("20260101000000_step.sql"), HasSubstr("parley-migrate repair")));
}

TEST_F(VerifyTest, ScratchDatabaseGoesWhenAMigrationFailsThere) {
  database_.Sql("CREATE TABLE was_there ()");
  const MigrationSet set = DaysOf({"ALTER TABLE was_there ADD n integer;"});
  ASSERT_THAT(MigrateUp(database_.dsn(), set, Goal(), {}), IsOk());
  const absl::Status status = Failure(set, Noting());
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr(absl::StrCat("on the scratch database ", scratch_)),
            HasSubstr("20260101000000_step.sql:2:1: relation \"was_there\" does not exist")));
  EXPECT_NE(scratch_, "");
  EXPECT_FALSE(HasDatabase(scratch_));
}

TEST_F(VerifyTest, ScratchDatabaseHasTheEncodingAndCollationOfTheOther) {
  const std::string name = absl::StrCat(database_.name(), "_icu");
  for (const auto& [options, expected] : std::vector<std::pair<std::string, std::string>>{
           {"ENCODING 'LATIN1' LOCALE 'C'", "LATIN1 c C"},
           {"ENCODING 'UTF8' LOCALE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'de'",
            "UTF8 i C.UTF-8 de"}}) {
    RunSql(ClusterDsn(), absl::StrCat("CREATE DATABASE ", name, " TEMPLATE template0 ", options));
    const Dsn dsn = database_.dsn().With("dbname", name);
    const MigrationSet set = DaysOf({"CREATE TABLE a (n text CHECK (n <> '\xC3\xA4'));"});
    EXPECT_THAT(MigrateUp(dsn, set, Goal(), {}), IsOk());
    const absl::StatusOr<VerifyReport> report = VerifySchema(dsn, set, Noting());
    ASSERT_THAT(report, IsOk());
    EXPECT_THAT(report->differences, IsEmpty());
    EXPECT_EQ(encoding_, expected);
    RunSql(ClusterDsn(), absl::StrCat("DROP DATABASE ", name));
  }
}

TEST_F(VerifyTest, SaysWhatIsMissingWithoutTheRightToMakeDatabases) {
  const MigrationSet set = DaysOf({"CREATE TABLE a (n integer);"});
  ASSERT_THAT(MigrateUp(database_.dsn(), set, Goal(), {}), IsOk());
  database_.Sql("GRANT SELECT ON schema_migrations TO pg_monitor");
  const Dsn reader = database_.dsn().With("options", "-c role=pg_monitor");
  const absl::Status status = VerifySchema(reader, set, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("SQLSTATE 42501"), HasSubstr("CREATEDB"), HasSubstr("--scratch-url")));
  // With a scratch database given, reading is enough.
  const EmptyDatabase scratch;
  EXPECT_THAT(VerifySchema(reader, set, {.scratch = scratch.dsn()}), IsOk());
}

TEST_F(VerifyTest, GivenScratchDatabaseMustBeEmptyAndIsAfterwards) {
  ASSERT_THAT(MigrateUp(database_.dsn()), IsOk());
  database_.Sql("DROP VIEW all_tasks");
  const EmptyDatabase scratch;
  const MigrationSet set = MigrationSet::Embedded().value();
  for (int time = 0; time < 2; ++time) {
    EXPECT_THAT(Differences(set, {.scratch = scratch.dsn()}),
                ElementsAre(HasSubstr("missing view public.all_tasks")));
    EXPECT_EQ(scratch.Versions(), "none");
    EXPECT_EQ(
        scratch.Sql("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"),
        "0");
  }
  for (const char* sql : {"CREATE TABLE one (n integer)", "CREATE TABLE schema_migrations ()"}) {
    scratch.Sql(sql);
    const absl::Status status = Failure(set, {.scratch = scratch.dsn()});
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr("is not empty"));
    EXPECT_EQ(
        scratch.Sql("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                    " AND relkind = 'r'"),
        "1");
    scratch.Sql("SET client_min_messages = warning; DROP TABLE IF EXISTS one");
  }
}

TEST_F(VerifyTest, EverythingOfAGivenScratchDatabaseIsCleared) {
  const EmptyDatabase scratch;
  absl::StatusOr<std::unique_ptr<ScratchDatabase>> borrowed =
      ScratchDatabase::Borrow(scratch.dsn());
  ASSERT_THAT(borrowed, IsOk());
  scratch.Sql(
      "CREATE EXTENSION hstore; CREATE SCHEMA other; CREATE TABLE other.a (n integer);"
      "CREATE TYPE mood AS ENUM ('sad'); CREATE DOMAIN short AS mood; CREATE TABLE b (m short);"
      "CREATE VIEW c AS SELECT * FROM b; CREATE MATERIALIZED VIEW d AS SELECT * FROM c;"
      "CREATE SEQUENCE e; CREATE PROCEDURE f() LANGUAGE sql AS 'SELECT 1';"
      "CREATE AGGREGATE g(integer) (SFUNC = int4mul, STYPE = integer);"
      "CREATE TYPE h AS RANGE (subtype = float8); CREATE TYPE i AS (n h)");
  EXPECT_THAT((*borrowed)->ClearAway(), IsOk());
  EXPECT_THAT(ScratchDatabase::Borrow(scratch.dsn()), IsOk());
}

TEST_F(VerifyTest, WaitsForAMigrationAndNotForEver) {
  const MigrationSet set = DaysOf({"CREATE TABLE a (n integer);"});
  ASSERT_THAT(MigrateUp(database_.dsn(), set, Goal(), {}), IsOk());
  absl::StatusOr<Connection> other = Connection::Open(database_.dsn());
  ASSERT_THAT(other, IsOk());
  ASSERT_THAT(AcquireMigrationLock(*other, absl::ZeroDuration(), [](const Progress&) {}), IsOk());
  EXPECT_EQ(Failure(set, {.lock_wait = absl::ZeroDuration()}).code(),
            absl::StatusCode::kDeadlineExceeded);
}

// The name of a scratch database that was made so long ago.
std::string NameOfAge(const std::string& age) {
  return RunSql(ClusterDsn(),
                absl::StrCat("SELECT 'parley_verify_' || to_char((now() - interval '", age,
                             "') AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISS') || '_'"
                             " || md5(random()::text)"));
}

TEST_F(VerifyTest, ClearsAwayWhatKilledOnesHaveLeftAndNothingElse) {
  const std::string killed = NameOfAge("11 minutes");
  const std::string in_use = NameOfAge("1 day");
  const std::string young = NameOfAge("5 minutes");
  const std::string other = absl::StrCat(NameOfAge("1 day"), "x");
  for (const std::string& name : {killed, in_use, young, other}) {
    RunSql(ClusterDsn(), absl::StrCat("CREATE DATABASE ", name, " TEMPLATE template0"));
  }
  {
    SqlConnection user(ClusterDsn().With("dbname", in_use));
    EXPECT_THAT(ScratchDatabase::Make(database_.dsn()), IsOk());
  }
  EXPECT_FALSE(HasDatabase(killed));
  for (const std::string& name : {in_use, young, other}) {
    EXPECT_TRUE(HasDatabase(name)) << name;
    RunSql(ClusterDsn(), absl::StrCat("DROP DATABASE ", name, " WITH (FORCE)"));
  }
}

}  // namespace
}  // namespace parley::db
