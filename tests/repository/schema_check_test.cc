#include "db/migrator/schema_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

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
