#include "db/migrator/migration_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "db/migrator/history.h"
#include "db/migrator/schema_check.h"
#include "tests/support/status_matchers.h"

namespace parley::db {
namespace {

using ::parley::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kName[] = "20260131235959_first_2.sql";
constexpr char kText[] = "-- migrate:up\nSELECT 1;\n-- migrate:down\n";

std::string ErrorOf(const std::string& file_name, const std::string& text) {
  const absl::StatusOr<Migration> migration = ParseMigration({file_name, text});
  if (migration.ok()) return "none";
  EXPECT_EQ(migration.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(migration.status().message());
}

MigrationSet SetOf(const std::vector<std::string>& versions) {
  std::vector<MigrationFile> files;
  files.reserve(versions.size());
  for (const std::string& version : versions) files.push_back({version + "_x.sql", kText});
  return MigrationSet::FromFiles(files).value();
}

History HistoryOf(const std::vector<std::string>& versions) {
  History history{.has_table = true};
  for (const std::string& version : versions) history.applied.push_back({.version = version});
  return history;
}

std::vector<std::string> VersionsOf(const std::vector<const Migration*>& migrations) {
  std::vector<std::string> versions;
  versions.reserve(migrations.size());
  for (const Migration* migration : migrations) versions.push_back(migration->version);
  return versions;
}

TEST(ParseMigrationTest, TakesVersionNameAndUpSection) {
  const absl::StatusOr<Migration> migration =
      ParseMigration({kName,
                      "-- About.\n\n--  migrate:up  \n-- +goose Up\nCREATE TABLE a ();\n\n"
                      "-- migrate:down\nDROP TABLE a;\n"});
  ASSERT_THAT(migration, IsOk());
  EXPECT_EQ(migration->version, "20260131235959");
  EXPECT_EQ(migration->name, "first_2");
  EXPECT_EQ(migration->file_name, kName);
  EXPECT_EQ(migration->up.sql, "-- +goose Up\nCREATE TABLE a ();\n\n");
  EXPECT_EQ(migration->up.line, 4);
}

TEST(ParseMigrationTest, IgnoresByteOrderMarkAndCarriageReturns) {
  const absl::StatusOr<Migration> migration = ParseMigration(
      {kName, "\xEF\xBB\xBF-- migrate:up\r\nSELECT 1;\r\n-- migrate:down\r\nSELECT 2;"});
  ASSERT_THAT(migration, IsOk());
  EXPECT_EQ(migration->up.sql, "SELECT 1;\n");
}

TEST(ParseMigrationTest, TakesWhatOnlyLooksLikeTheEndOfATransaction) {
  EXPECT_EQ(ErrorOf(kName,
                    "-- migrate:up\nSAVEPOINT a; ROLLBACK TO a; PREPARE commit AS SELECT 1;"
                    " CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END;"
                    " DO $$ BEGIN END $$;\n-- migrate:down\n"),
            "none");
}

TEST(ParseMigrationTest, RefusesBadNames) {
  for (const char* name : {
           "foundation.sql",                    // no version
           "2026013123595_short.sql",           // 13 digits
           "202601312359590_long.sql",          // 15 digits
           "20261331235959_month.sql",          // month 13
           "20260132235959_day.sql",            // day 32
           "20260131245959_hour.sql",           // hour 24
           "20260131236059_minute.sql",         // minute 60
           "20260131235960_second.sql",         // second 60
           "20260131235959.sql",                // no name
           "20260131235959_.sql",               // empty name
           "20260131235959_a b.sql",            // a blank
           "20260131235959_a.up.sql",           // a dot
           "20260131235959_\xC3\xA4.sql",       // not ASCII
           "20260131235959_a.SQL", "2026", "",  // no .sql
       }) {
    EXPECT_THAT(ErrorOf(name, kText), HasSubstr("YYYYMMDDHHMMSS_name.sql")) << name;
  }
}

TEST(ParseMigrationTest, RefusesBadSectionsAndNamesTheLine) {
  const struct {
    const char* text;
    const char* error;
  } kCases[] = {
      {"", ":1: there is no \"-- migrate:up\" section"},
      {"-- nothing\n", ":2: there is no \"-- migrate:up\" section"},
      {"SELECT 1;\n-- migrate:up\n", ":1: only comments may come before"},
      {"-- migrate:up\nSELECT 1;", ":2: there is no \"-- migrate:down\" section"},
      {"-- migrate:down\n-- migrate:up\n", ":1: \"-- migrate:down\" before \"-- migrate:up\""},
      {"-- migrate:up\nSELECT 1;\n-- migrate:up\n", ":3: a second \"-- migrate:up\""},
      {"-- migrate:up\nSELECT 1;\n-- migrate:down\n-- migrate:down\n",
       ":4: a second \"-- migrate:down\""},
      {"-- a\n-- migrate:up\n\n-- only this\n-- migrate:down\n", ":2: the \"-- migrate:up\""},
      {"-- migrate:up\nSELECT 1;\n-- migrate:dwon\n", ":3: \"-- migrate:dwon\" is not known"},
      {"-- migrate:up transaction:true\n", ":1: \"-- migrate:up transaction:true\" is not known"},
      {"-- migrate:up transaction:false\nSELECT 1;\n\nSELECT 2;\n-- migrate:down\n",
       ":4: a second statement"},
      {"-- migrate:up\nSELECT 1;\nSELECT 'a;\n-- migrate:down\n", ":3:8: a string that does not"},
      {"-- migrate:up\nSELECT 1;\nSELECT 2; commit;\n-- migrate:down\n",
       ":3: COMMIT: the file runs in"},
      {"-- migrate:up\nSELECT 1;\n-- migrate:down\n\nBEGIN;\n", ":5: BEGIN: the file runs in"},
      {"-- migrate:up\nROLLBACK;\n-- migrate:down\n", ":2: ROLLBACK: "},
      {"-- migrate:up\nPREPARE TRANSACTION 'x';\n-- migrate:down\n", ":2: PREPARE: "},
      {"-- migrate:up\n-- parley:phase expand\nSELECT 1;\n-- migrate:down\n",
       ":2: \"-- parley:phase\" stands"},
      {"-- parley:phase shrink\n", ":1: \"-- parley:phase shrink\" is not known"},
      {"-- parley:phase expand\n-- parley:phase expand\n", ":2: a second"},
      {"-- migrate:up\nSELECT '\xFF';\n-- migrate:down\n", ":2: the line is not UTF-8"},
  };
  for (const auto& [text, error] : kCases) {
    EXPECT_THAT(ErrorOf(kName, text), HasSubstr(std::string(kName) + error)) << text;
  }
  const std::string nul("-- migrate:up\nSELECT '\0';\n-- migrate:down\n", 42);
  EXPECT_THAT(ErrorOf(kName, nul), HasSubstr(":2: the line is not UTF-8"));
}

TEST(LocateInFileTest, CountsCodePointsAsPostgresDoes) {
  const Migration migration =
      ParseMigration(
          {kName, "-- migrate:up\nSELECT\n '\xC3\xA4\xF0\x9F\x98\x80', x;\n-- migrate:down\n"})
          .value();
  const struct {
    std::int32_t position, line, column;
  } kCases[] = {{1, 2, 1}, {6, 2, 6}, {7, 2, 7}, {8, 3, 1}, {14, 3, 7}, {15, 3, 8}};
  for (const auto& [position, line, column] : kCases) {
    const FilePosition found = LocateInFile(migration.up, position);
    EXPECT_EQ(found.line, line) << position;
    EXPECT_EQ(found.column, column) << position;
  }
}

TEST(MigrationSetTest, OrdersByVersion) {
  const MigrationSet set = SetOf({"20260103000000", "20260101000000", "20260102000000"});
  std::vector<std::string> versions;
  for (const Migration& migration : set.migrations()) versions.push_back(migration.version);
  EXPECT_THAT(versions, ElementsAre("20260101000000", "20260102000000", "20260103000000"));
}

TEST(MigrationSetTest, RefusesTwoFilesOfOneVersion) {
  const absl::StatusOr<MigrationSet> set =
      MigrationSet::FromFiles({{"20260101000000_b.sql", kText}, {"20260101000000_a.sql", kText}});
  EXPECT_EQ(set.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(set.status().message()),
              HasSubstr("20260101000000_b.sql:1: the version is that of 20260101000000_a.sql"));
}

TEST(MigrationSetTest, EmbeddedFilesAreRight) {
  const absl::StatusOr<MigrationSet> set = MigrationSet::Embedded();
  ASSERT_THAT(set, IsOk());
  ASSERT_FALSE(set->migrations().empty());
  EXPECT_EQ(set->migrations().front().name, "foundation");
}

TEST(CompareSchemaTest, TellsAppliedPendingOutOfOrderMissingAndAhead) {
  const MigrationSet set = SetOf({"20260101000000", "20260102000000", "20260104000000"});
  const SchemaState state =
      CompareSchema(set, HistoryOf({"20260102000000", "20260103000000", "20260105000000"}));
  EXPECT_THAT(VersionsOf(state.applied), ElementsAre("20260102000000"));
  EXPECT_THAT(VersionsOf(state.pending), ElementsAre("20260101000000", "20260104000000"));
  EXPECT_THAT(VersionsOf(state.out_of_order), ElementsAre("20260101000000", "20260104000000"));
  ASSERT_EQ(state.missing.size(), 1u);
  EXPECT_EQ(state.missing[0].version, "20260103000000");
  ASSERT_EQ(state.ahead.size(), 1u);
  EXPECT_EQ(state.ahead[0].version, "20260105000000");
}

TEST(CompareSchemaTest, EmptyDatabaseHasEverythingPending) {
  const MigrationSet set = SetOf({"20260101000000", "20260102000000"});
  const SchemaState state = CompareSchema(set, History());
  EXPECT_EQ(state.pending.size(), 2u);
  EXPECT_THAT(state.out_of_order, IsEmpty());
}

TEST(JudgeSchemaTest, SaysWhatMendsIt) {
  const MigrationSet set = SetOf({"20260101000000", "20260102000000"});
  const auto judge = [&set](const std::vector<std::string>& versions) {
    return JudgeSchema(CompareSchema(set, HistoryOf(versions)));
  };
  EXPECT_THAT(judge({"20260101000000", "20260102000000"}), IsOk());
  const absl::Status behind = judge({"20260101000000"});
  EXPECT_EQ(behind.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(behind.message()), HasSubstr("Run `parley-migrate up`"));
  const absl::Status ahead = judge({"20260101000000", "20260102000000", "20260103000000"});
  EXPECT_EQ(ahead.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(ahead.message()), HasSubstr("does not know 20260103000000. Start the"));
  const absl::Status other = judge({"20260101000000", "20260103000000"});
  EXPECT_EQ(other.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(other.message()), HasSubstr("another line of releases"));
}

}  // namespace
}  // namespace parley::db
