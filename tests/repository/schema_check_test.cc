#include "db/migrator/schema_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "db/migrator/migrator.h"
#include "db/migrator/open_database.h"
#include "tests/repository/empty_database.h"
#include "tests/support/status_matchers.h"

namespace parley::db {
namespace {

using ::parley::testing::EmptyDatabase;
using ::parley::testing::IsOk;
using ::testing::HasSubstr;

class SchemaCheckTest : public ::testing::Test {
 protected:
  absl::Status Check() {
    absl::StatusOr<Connection> connection = Connection::Open(database_.dsn());
    if (!connection.ok()) return connection.status();
    return CheckSchema(*connection);
  }
  OpenOptions Options() const {
    return {.url = database_.dsn().Uri(),
            .application = "schema_check_test",
            .connections = 2,
            .wait = absl::ZeroDuration()};
  }

  EmptyDatabase database_;
};

TEST_F(SchemaCheckTest, EmptyDatabaseIsBehind) {
  const absl::Status status = Check();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("`parley-migrate up`"));
}

TEST_F(SchemaCheckTest, MigratedDatabaseIsRight) {
  ASSERT_THAT(MigrateUp(database_.dsn()), IsOk());
  EXPECT_THAT(Check(), IsOk());
}

TEST_F(SchemaCheckTest, OneMigrationMoreIsAheadAndOneLessIsBehind) {
  ASSERT_THAT(MigrateUp(database_.dsn()), IsOk());
  database_.Sql("INSERT INTO schema_migrations VALUES ('29990101000000')");
  const absl::Status ahead = Check();
  EXPECT_EQ(ahead.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(ahead.message()), HasSubstr("does not know 29990101000000"));

  database_.Sql(
      "DELETE FROM schema_migrations WHERE version <>"
      " (SELECT min(version) FROM schema_migrations)");
  const absl::Status behind = Check();
  EXPECT_EQ(behind.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(behind.message()), HasSubstr("behind"));
}

// A file of the day, in the phase.
MigrationFile FileOf(int day, absl::string_view phase) {
  return {
      absl::StrCat("2026010", day, "000000_step.sql"),
      absl::StrCat(phase.empty() ? "" : absl::StrCat("-- parley:phase ", phase, "\n"),
                   testing::MigrationText(absl::StrCat("CREATE TABLE t", day, " (n integer);")))};
}

TEST_F(SchemaCheckTest, OneStepAheadOrBehindIsForThePhaseToSay) {
  const MigrationFile one = FileOf(1, "");
  const std::vector<std::string> phases = {"", "expand", "contract"};
  for (const std::string& phase : phases) {
    const EmptyDatabase database;
    const MigrationSet before = MigrationSet::FromFiles({one}).value();
    const MigrationSet after = MigrationSet::FromFiles({one, FileOf(2, phase)}).value();
    const auto judge = [&](const MigrationSet& release) {
      absl::StatusOr<Connection> connection = Connection::Open(database.dsn());
      return JudgeSchema(CompareSchema(release, ReadHistory(*connection).value()));
    };
    ASSERT_THAT(MigrateUp(database.dsn(), before, Goal(), {}), IsOk());
    EXPECT_THAT(judge(before), IsOk());
    const absl::Status later_release = judge(after);
    ASSERT_THAT(MigrateUp(database.dsn(), after, Goal(), {}), IsOk());
    EXPECT_THAT(judge(after), IsOk());
    const absl::Status earlier_release = judge(before);

    if (phase == "contract") {
      EXPECT_THAT(later_release, IsOk());
    } else {
      EXPECT_EQ(later_release.code(), absl::StatusCode::kFailedPrecondition) << phase;
      EXPECT_THAT(std::string(later_release.message()),
                  HasSubstr("behind this release: 20260102000000_step.sql not applied"));
    }
    if (phase == "expand") {
      EXPECT_THAT(earlier_release, IsOk());
    } else {
      EXPECT_EQ(earlier_release.code(), absl::StatusCode::kFailedPrecondition) << phase;
      EXPECT_THAT(std::string(earlier_release.message()),
                  HasSubstr("ahead: this release does not know 20260102000000."));
    }
  }
}

TEST_F(SchemaCheckTest, OnlyWhatIsInTheWayIsNamed) {
  const MigrationSet first = MigrationSet::FromFiles({FileOf(1, ""), FileOf(2, "expand"),
                                                      FileOf(3, "contract"), FileOf(4, "")})
                                 .value();
  ASSERT_THAT(MigrateUp(database_.dsn(), first, Goal(), {}), IsOk());
  const MigrationSet second =
      MigrationSet::FromFiles({FileOf(1, ""), FileOf(5, "expand"), FileOf(6, "contract")}).value();
  absl::StatusOr<Connection> connection = Connection::Open(database_.dsn());
  ASSERT_THAT(connection, IsOk());
  const absl::Status status = JudgeSchema(CompareSchema(second, ReadHistory(*connection).value()));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("does not know 20260103000000, 20260104000000 and needs "
                        "20260105000000_step.sql. "));
}

TEST_F(SchemaCheckTest, MigrationsOfAnotherToolHaveNoPhase) {
  ASSERT_THAT(MigrateUp(database_.dsn()), IsOk());
  database_.Sql(
      "INSERT INTO schema_migrations (version, phase) VALUES ('29990101000000', 'expand')");
  EXPECT_THAT(Check(), IsOk());
  database_.Sql("UPDATE schema_migrations SET phase = NULL WHERE version = '29990101000000'");
  EXPECT_EQ(Check().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(SchemaCheckTest, OpenDatabase_ReturnsAPoolWithTheServicesSettings) {
  ASSERT_THAT(MigrateUp(database_.dsn()), IsOk());
  const absl::StatusOr<std::unique_ptr<SessionPool>> pool = OpenDatabase(Options());
  ASSERT_THAT(pool, IsOk());
  EXPECT_THAT((*pool)->Ping(absl::Now() + absl::Seconds(10)), IsOk());
  EXPECT_EQ(
      database_.Sql(absl::StrCat("SELECT count(*) FROM pg_stat_activity WHERE datname = '",
                                 database_.name(), "' AND application_name = 'schema_check_test'")),
      "1");
  const std::string settings =
      "SELECT concat_ws(' ', current_setting('timezone'), current_setting('client_encoding'),"
      " current_setting('idle_in_transaction_session_timeout'))";
  EXPECT_EQ(parley::testing::RunSql(ServiceDsn(Options()).value(), settings), "UTC UTF8 1min");
}

TEST_F(SchemaCheckTest, OpenDatabase_RefusesASchemaThatIsBehind) {
  EXPECT_EQ(OpenDatabase(Options()).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(SchemaCheckTest, OpenDatabase_WaitsForTheDatabaseAndNotForEver) {
  OpenOptions options = Options();
  options.url = database_.dsn().With("port", "1").With("password", "hunter2").Uri();
  options.wait = absl::Milliseconds(300);
  const absl::Time start = absl::Now();
  const absl::Status status = OpenDatabase(options).status();
  EXPECT_GE(absl::Now() - start, options.wait);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), ::testing::Not(HasSubstr("hunter2")));
}

TEST_F(SchemaCheckTest, OpenDatabase_RefusesAUrlThatIsNone) {
  OpenOptions options = Options();
  options.url = "mysql://somewhere";
  EXPECT_EQ(OpenDatabase(options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace parley::db
