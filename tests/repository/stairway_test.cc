// Every migration that is built in, up, down and up again, with rows in the tables.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "db/migrator/catalog.h"
#include "db/migrator/migrator.h"
#include "tests/repository/empty_database.h"
#include "tests/repository/stairway_rows.h"
#include "tests/support/status_matchers.h"

namespace parley::db {
namespace {

using ::parley::testing::EmptyDatabase;
using ::parley::testing::IsOk;
using ::parley::testing::StairwayRows;
using ::testing::IsEmpty;

enum class Columns { kInOrder, kInAnyOrder };

// What differs, a line each. PostgreSQL adds columns at the end only, so that a down section cannot
// put one back where it was.
std::vector<std::string> Differences(const Catalog& expected, const Catalog& found,
                                     Columns columns) {
  std::vector<std::string> lines;
  for (const CatalogDifference& difference : CompareCatalogs(expected, found)) {
    const bool is_order = absl::StartsWith(difference.object, "order of columns of ");
    if (is_order && columns == Columns::kInAnyOrder) continue;
    lines.push_back(DescribeDifference(difference));
  }
  return lines;
}

class StairwayTest : public ::testing::Test {
 protected:
  Catalog ReadIt() {
    absl::StatusOr<Connection> connection = Connection::Open(database_.dsn());
    EXPECT_THAT(connection, IsOk());
    absl::StatusOr<Catalog> catalog = ReadCatalog(*connection);
    EXPECT_THAT(catalog, IsOk());
    return *catalog;
  }

  // How many rows each table has.
  std::string CountRows() {
    return database_.Sql(R"(
      SELECT string_agg(concat_ws(' ', relname, (xpath('/row/n/text()', query_to_xml(
               format('SELECT count(*) AS n FROM %s', oid::regclass), false, true, '')))[1]::text), ', '
               ORDER BY relname)
      FROM pg_class
      WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
        AND relname NOT LIKE 'schema_migration%')");
  }

  void Up(const Migration& migration) {
    ASSERT_THAT(MigrateUp(database_.dsn(), set_, {.version = migration.version, .steps = {}}, {}),
                IsOk());
  }

  // Undoes the newest.
  void Down() { ASSERT_THAT(MigrateDown(database_.dsn(), set_, Goal(), {}), IsOk()); }

  void AddRows(const Migration& migration) {
    const auto rows = StairwayRows().find(migration.version);
    if (rows != StairwayRows().end()) database_.Sql(rows->second);
  }

  const MigrationSet set_ = MigrationSet::Embedded().value();
  EmptyDatabase database_;
};

TEST_F(StairwayTest, EveryMigrationGoesUpDownAndUpAgain) {
  for (const Migration& migration : set_.migrations()) {
    SCOPED_TRACE(migration.file_name);
    const Catalog before = ReadIt();
    const std::string rows_before = CountRows();
    ASSERT_NO_FATAL_FAILURE(Up(migration));
    const Catalog after = ReadIt();
    EXPECT_FALSE(CompareCatalogs(before, after).empty());

    // With the rows that were there, and nothing is lost.
    ASSERT_NO_FATAL_FAILURE(Down());
    EXPECT_THAT(Differences(before, ReadIt(), Columns::kInAnyOrder), IsEmpty());
    EXPECT_EQ(CountRows(), rows_before);
    ASSERT_NO_FATAL_FAILURE(Up(migration));
    EXPECT_THAT(Differences(after, ReadIt(), Columns::kInOrder), IsEmpty());

    // With such as only the new schema has.
    AddRows(migration);
    ASSERT_NO_FATAL_FAILURE(Down());
    EXPECT_THAT(Differences(before, ReadIt(), Columns::kInAnyOrder), IsEmpty());
    ASSERT_NO_FATAL_FAILURE(Up(migration));
    EXPECT_THAT(Differences(after, ReadIt(), Columns::kInOrder), IsEmpty());
    AddRows(migration);
  }
}

TEST_F(StairwayTest, FromTheTopToTheGroundAndUpAgain) {
  const Catalog empty = ReadIt();
  for (const Migration& migration : set_.migrations()) {
    ASSERT_NO_FATAL_FAILURE(Up(migration));
    AddRows(migration);
  }
  const Catalog top = ReadIt();
  for (std::size_t i = 0; i < set_.migrations().size(); ++i) ASSERT_NO_FATAL_FAILURE(Down());
  EXPECT_THAT(Differences(empty, ReadIt(), Columns::kInOrder), IsEmpty());
  for (const Migration& migration : set_.migrations()) {
    ASSERT_NO_FATAL_FAILURE(Up(migration));
  }
  EXPECT_THAT(Differences(top, ReadIt(), Columns::kInOrder), IsEmpty());
}

}  // namespace
}  // namespace parley::db
