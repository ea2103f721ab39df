#include "db/migrator/dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "db/migrator/catalog.h"
#include "db/migrator/migrator.h"
#include "tests/repository/empty_database.h"
#include "tests/support/status_matchers.h"

namespace parley::db {
namespace {

using ::parley::testing::EmptyDatabase;
using ::parley::testing::IsOk;
using ::parley::testing::TempDirectory;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// PATH for as long as it lives.
class PathOf {
 public:
  explicit PathOf(const std::string& path) : before_(std::getenv("PATH")) {
    setenv("PATH", path.c_str(), 1);
  }
  ~PathOf() { setenv("PATH", before_.c_str(), 1); }
  PathOf(const PathOf&) = delete;
  PathOf& operator=(const PathOf&) = delete;

 private:
  const std::string before_;
};

class DumpTest : public ::testing::Test {
 protected:
  std::string Dump() {
    const absl::StatusOr<std::string> dump = DumpSchema(database_.dsn());
    EXPECT_THAT(dump, IsOk());
    return dump.ok() ? *dump : "";
  }

  EmptyDatabase database_;
};

TEST_F(DumpTest, SchemaFileOfTheRepositoryIsUpToDate) {
  ASSERT_THAT(MigrateUp(database_.dsn()), IsOk());
  std::ifstream stream(PARLEY_SOURCE_DIR "/db/schema.sql");
  const std::string file(std::istreambuf_iterator<char>(stream), {});
  EXPECT_TRUE(file == Dump())
      << "db/schema.sql is not what the migrations make. Let `parley-migrate up` bring an empty "
         "database up to date, then run `parley-migrate dump --output db/schema.sql` on it.";
}

TEST_F(DumpTest, HoldsNothingThatChangesByItself) {
  ASSERT_THAT(MigrateUp(database_.dsn()), IsOk());
  const std::string before = Dump();
  EXPECT_THAT(before, AllOf(HasSubstr("CREATE TABLE public.users ("),
                            HasSubstr("CREATE FUNCTION public.parley_enqueue("),
                            Not(HasSubstr("schema_migration")), Not(HasSubstr("task_history_20")),
                            Not(HasSubstr("restrict ")), Not(HasSubstr("Dumped"))));
  database_.Sql(
      "SELECT extend_task_history('2030-01-01', '2030-02-01'); SELECT setval('task_id_seq', 77);"
      "ALTER TABLE users OWNER TO pg_monitor; GRANT SELECT ON chats TO pg_monitor;"
      "INSERT INTO users (login, login_key) VALUES ('a', 'a');"
      "CREATE SCHEMA original; CREATE TABLE original.a (n integer);"
      "CREATE TABLE IF NOT EXISTS schema_migration_log (id bigserial)");
  EXPECT_EQ(Dump(), before);
}

TEST_F(DumpTest, MakesWhatWasDumped) {
  ASSERT_THAT(MigrateUp(database_.dsn()), IsOk());
  const EmptyDatabase restored;
  const TempDirectory directory;
  const std::string file = directory.Write("schema.sql", Dump());
  ASSERT_EQ(std::system(absl::StrCat("psql -X -q -v ON_ERROR_STOP=1 -d '", restored.dsn().Uri(),
                                     "' -f ", file, " >/dev/null")
                            .c_str()),
            0);
  absl::StatusOr<Connection> connection = Connection::Open(database_.dsn());
  absl::StatusOr<Connection> other = Connection::Open(restored.dsn());
  ASSERT_THAT(connection, IsOk());
  ASSERT_THAT(other, IsOk());
  for (const CatalogDifference& difference :
       CompareCatalogs(ReadCatalog(*connection).value(), ReadCatalog(*other).value())) {
    EXPECT_THAT(difference.object, HasSubstr("privileges on function public.parley_enqueue("));
  }
}

TEST_F(DumpTest, SaysWhatToInstallWithoutPgDump) {
  const TempDirectory nothing;
  const PathOf path(nothing.path());
  const absl::Status status = DumpSchema(database_.dsn()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("no pg_dump"), HasSubstr("apt-get install postgresql-client-")));
}

// Writes an executable pg_dump.
void WritePgDump(const TempDirectory& directory, const std::string& script) {
  namespace fs = std::filesystem;
  fs::permissions(directory.Write("pg_dump", "#!/bin/sh\n" + script), fs::perms::owner_all);
}

TEST_F(DumpTest, SaysWhatToInstallForAServerThatIsNewer) {
  const TempDirectory directory;
  // What pg_dump 13 says to a server of 15, on its way out with 1.
  WritePgDump(directory,
              "echo 'pg_dump: error: server version: 15.18; pg_dump version: 13.9' >&2\n"
              "echo 'pg_dump: error: aborting because of server version mismatch' >&2\nexit 1\n");
  const PathOf path(directory.path());
  const absl::Status status = DumpSchema(database_.dsn()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("older than the server"), HasSubstr("/bin:$PATH parley-migrate dump"),
                    HasSubstr("server version: 15.18")));
}

TEST_F(DumpTest, GivesThePasswordInTheEnvironmentOnly) {
  const TempDirectory directory;
  WritePgDump(directory, "echo \"$@\"; echo \"password $PGPASSWORD locale $LC_ALL\"; exit 3\n");
  const std::string password = database_.dsn().Find("password").value_or("");
  ASSERT_NE(password, "");
  {
    const PathOf path(directory.path());
    EXPECT_EQ(DumpSchema(database_.dsn()).status().code(), absl::StatusCode::kInternal);
  }
  WritePgDump(directory, "echo \"$@\"; echo \"password $PGPASSWORD locale $LC_ALL\"\n");
  const PathOf path(directory.path());
  const std::string dump = Dump();
  EXPECT_THAT(dump, AllOf(HasSubstr("password " + password + " locale C"), HasSubstr("--dbname=")));
  EXPECT_EQ(dump.find(password), dump.rfind(password));
}

}  // namespace
}  // namespace parley::db
