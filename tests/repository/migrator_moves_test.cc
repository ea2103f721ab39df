// Down, redo, stamp, repair, and what the history says about files that are not what they were.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "db/migrator/mend.h"
#include "db/migrator/migrator.h"
#include "db/migrator/problem.h"
#include "tests/repository/empty_database.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

using ::parley::testing::EmptyDatabase;
using ::parley::testing::IsOk;
using ::parley::testing::SqlConnection;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kDay1[] = "20260101000000";
constexpr char kDay2[] = "20260102000000";
constexpr char kDay3[] = "20260103000000";

// Table a, b and c, one a file.
MigrationFile FileOf(const std::string& version, const std::string& table) {
  return {absl::StrCat(version, "_step.sql"),
          absl::StrCat("-- migrate:up\nCREATE TABLE ", table, " ();\n-- migrate:down\nDROP TABLE ",
                       table, ";\n")};
}
std::vector<MigrationFile> ThreeFiles() {
  return {FileOf(kDay1, "a"), FileOf(kDay2, "b"), FileOf(kDay3, "c")};
}

class MigratorMovesTest : public ::testing::Test {
 protected:
  MigratorMovesTest() {
    options_.report = [this](const Progress& progress) { events_.push_back(progress.event); };
  }

  absl::Status Up(const Goal& goal = {}) {
    return MigrateUp(database_.dsn(), Set(), goal, options_);
  }
  absl::Status Down(const Goal& goal = {}) {
    return MigrateDown(database_.dsn(), Set(), goal, options_);
  }
  MigrationSet Set() const { return MigrationSet::FromFiles(files_).value(); }

  // "up done, down done": what the journal has, in its order.
  std::string Journal() const {
    return database_.Sql(
        "SELECT string_agg(action || ' ' || right(version, 8) || ' ' || outcome, ', ' ORDER BY id)"
        " FROM schema_migration_log");
  }

  EmptyDatabase database_;
  std::vector<MigrationFile> files_ = ThreeFiles();
  MigrateOptions options_;
  std::vector<std::string> events_;
};

TEST_F(MigratorMovesTest, GoesUpToAVersionOrByStepsAndDownAgain) {
  ASSERT_THAT(Up({.version = kDay2, .steps = {}}), IsOk());
  EXPECT_EQ(database_.Versions(), absl::StrCat(kDay1, " ", kDay2));
  ASSERT_THAT(Up({.version = {}, .steps = 1}), IsOk());
  EXPECT_TRUE(database_.HasTable("c"));

  ASSERT_THAT(Down(), IsOk());
  EXPECT_EQ(database_.Versions(), absl::StrCat(kDay1, " ", kDay2));
  EXPECT_FALSE(database_.HasTable("c"));
  ASSERT_THAT(Down({.version = kDay1, .steps = {}}), IsOk());
  EXPECT_EQ(database_.Versions(), kDay1);
  ASSERT_THAT(Up(), IsOk());
  ASSERT_THAT(Down({.version = {}, .steps = 3}), IsOk());
  EXPECT_EQ(database_.Versions(), "");
  EXPECT_FALSE(database_.HasTable("a"));
  events_.clear();
  EXPECT_THAT(Down(), IsOk());
  EXPECT_THAT(events_, ElementsAre());

  EXPECT_EQ(ProblemOf(Up({.version = "20260104000000", .steps = {}})), Problem::kUsage);
  EXPECT_EQ(ProblemOf(Down({.version = "20260104000000", .steps = {}})), Problem::kUsage);
}

TEST_F(MigratorMovesTest, JournalHasEveryAttempt) {
  ASSERT_THAT(Up({.version = {}, .steps = 1}), IsOk());
  files_[1].text = absl::StrReplaceAll(files_[1].text, {{"CREATE TABLE b ()", "SELECT 1 / 0"}});
  ASSERT_FALSE(Up().ok());
  files_[1] = FileOf(kDay2, "b");
  ASSERT_THAT(Up({.version = {}, .steps = 1}), IsOk());
  ASSERT_THAT(Down(), IsOk());
  EXPECT_EQ(Journal(),
            "up 01000000 done, up 02000000 failed, up 02000000 done, down 02000000 done");
  EXPECT_THAT(database_.Sql("SELECT error FROM schema_migration_log WHERE outcome = 'failed'"),
              AllOf(HasSubstr("20260102000000_step.sql"), HasSubstr("22012")));
}

TEST_F(MigratorMovesTest, RedoUndoesAndAppliesAgain) {
  ASSERT_THAT(Up(), IsOk());
  const std::string before =
      database_.Sql("SELECT 'b'::regclass::oid || ' ' || 'c'::regclass::oid");
  ASSERT_THAT(MigrateRedo(database_.dsn(), Set(), 2, options_), IsOk());
  EXPECT_NE(database_.Sql("SELECT 'b'::regclass::oid || ' ' || 'c'::regclass::oid"), before);
  EXPECT_THAT(events_, ElementsAre("applied", "applied", "applied", "undone", "undone", "applied",
                                   "applied"));
}

TEST_F(MigratorMovesTest, DownNeedsAFileWithAWayBack) {
  files_[2].text = "-- migrate:up\nCREATE TABLE c ();\n-- migrate:down\n-- not possible\n";
  ASSERT_THAT(Up(), IsOk());
  const absl::Status empty = Down();
  EXPECT_EQ(ProblemOf(empty), Problem::kUsage);
  EXPECT_THAT(std::string(empty.message()), HasSubstr("20260103000000_step.sql cannot be undone"));
  files_.pop_back();
  const absl::Status unknown = Down();
  EXPECT_EQ(ProblemOf(unknown), Problem::kMismatch);
  EXPECT_THAT(std::string(unknown.message()),
              HasSubstr("20260103000000 is applied, but there is no"));
  EXPECT_TRUE(database_.HasTable("b"));
}

TEST_F(MigratorMovesTest, ChangedFilesAreRefusedUntilTheyAreAccepted) {
  ASSERT_THAT(Up({.version = kDay2, .steps = {}}), IsOk());
  files_[0].text += "-- a word more\n";
  const absl::Status changed = Up();
  EXPECT_EQ(ProblemOf(changed), Problem::kMismatch);
  EXPECT_THAT(std::string(changed.message()),
              AllOf(HasSubstr("changed since they were applied: 20260101000000_step.sql."),
                    HasSubstr("`parley-migrate repair`")));
  EXPECT_FALSE(database_.HasTable("c"));
  ASSERT_THAT(Repair(database_.dsn(), Set(), {}, options_), IsOk());
  EXPECT_THAT(Up(), IsOk());
  EXPECT_TRUE(database_.HasTable("c"));
}

TEST_F(MigratorMovesTest, ChangedFilesUndoNothing) {
  ASSERT_THAT(Up(), IsOk());
  files_[2].text = "-- migrate:up\nCREATE TABLE c ();\n-- migrate:down\nSELECT 1;\n";
  const absl::Status status = Down();
  EXPECT_EQ(ProblemOf(status), Problem::kMismatch);
  EXPECT_THAT(std::string(status.message()), HasSubstr("was changed since it was applied"));
  EXPECT_TRUE(database_.HasTable("c"));
}

TEST_F(MigratorMovesTest, TablesOfTheOriginalAreNotOverrun) {
  database_.Sql(
      "CREATE TABLE users (); CREATE TABLE chats (); CREATE TABLE chat_user ();"
      "CREATE TABLE messages ()");
  const absl::Status status = Up();
  EXPECT_EQ(ProblemOf(status), Problem::kMismatch);
  EXPECT_THAT(std::string(status.message()), HasSubstr("`parley-migrate adopt --check`"));
  EXPECT_EQ(database_.Versions(), "none");
}

TEST_F(MigratorMovesTest, WhatEditorsAndGitChangeIsNoChange) {
  ASSERT_THAT(Up(), IsOk());
  for (MigrationFile& file : files_) {
    file.text = absl::StrCat("\xEF\xBB\xBF", absl::StrReplaceAll(file.text, {{";\n", ";  \r\n"}}),
                             "\r\n\r\n");
  }
  EXPECT_THAT(Up(), IsOk());
  files_[0].text = absl::StrReplaceAll(files_[0].text, {{"TABLE a", "TABLE  a"}});
  EXPECT_EQ(ProblemOf(Up()), Problem::kMismatch);
}

TEST_F(MigratorMovesTest, DeletedFilesAreMissing) {
  ASSERT_THAT(Up({.version = kDay2, .steps = {}}), IsOk());
  files_.erase(files_.begin());
  const absl::Status status = Up();
  EXPECT_EQ(ProblemOf(status), Problem::kMismatch);
  EXPECT_THAT(std::string(status.message()), HasSubstr("there is no file: 20260101000000"));
}

TEST_F(MigratorMovesTest, LateFilesAreAppliedIfAllowed) {
  files_.erase(files_.begin() + 1);
  ASSERT_THAT(Up(), IsOk());
  files_ = ThreeFiles();
  EXPECT_EQ(ProblemOf(Up()), Problem::kOutOfOrder);
  options_.allows_out_of_order = true;
  EXPECT_THAT(Up(), IsOk());
  EXPECT_TRUE(database_.HasTable("b"));
}

TEST_F(MigratorMovesTest, StampMakesTheHistorySayWhatItIsTold) {
  ASSERT_THAT(Stamp(database_.dsn(), Set(), kDay2, options_), IsOk());
  EXPECT_EQ(database_.Versions(), absl::StrCat(kDay1, " ", kDay2));
  EXPECT_FALSE(database_.HasTable("a"));
  ASSERT_THAT(Up(), IsOk());
  EXPECT_TRUE(database_.HasTable("c"));
  ASSERT_THAT(Stamp(database_.dsn(), Set(), kDay1, options_), IsOk());
  EXPECT_EQ(database_.Versions(), kDay1);
  ASSERT_THAT(Stamp(database_.dsn(), Set(), "", options_), IsOk());
  EXPECT_EQ(database_.Versions(), "");
  EXPECT_EQ(ProblemOf(Stamp(database_.dsn(), Set(), "20260104000000", options_)), Problem::kUsage);
}

TEST_F(MigratorMovesTest, HistoryOfTheReleaseBeforeIsCompleted) {
  database_.Sql(
      "CREATE TABLE a (); CREATE TABLE schema_migrations"
      " (version varchar PRIMARY KEY, applied_at timestamptz DEFAULT now());"
      "INSERT INTO schema_migrations VALUES ('20260101000000', '2026-01-01Z')");
  ASSERT_THAT(Up(), IsOk());
  const std::string state =
      "SELECT string_agg((checksum IS NULL)::text || ' ' || (applied_at < now() - interval '1 "
      "day'),"
      " ', ' ORDER BY version) FROM schema_migrations";
  EXPECT_EQ(database_.Sql(state), "true true, false false, false false");
  ASSERT_THAT(Repair(database_.dsn(), Set(), {}, options_), IsOk());
  EXPECT_EQ(database_.Sql(state), "false true, false false, false false");
  EXPECT_THAT(Journal(), HasSubstr("repair 01000000 done"));
}

TEST_F(MigratorMovesTest, TriesAgainUntilALockIsFreeAndNamesWhoHasIt) {
  ASSERT_THAT(Up({.version = kDay2, .steps = {}}), IsOk());
  files_[2].text = "-- migrate:up\nALTER TABLE a ADD n int;\n-- migrate:down\n";
  SqlConnection other(database_.dsn().With("application_name", "the-other"));
  other.Run("BEGIN; LOCK TABLE a IN ACCESS SHARE MODE");
  std::vector<std::string> texts;
  int retries = 0;
  options_.run.lock_timeout = absl::Milliseconds(200);
  options_.report = [&](const Progress& progress) {
    texts.push_back(progress.text);
    if (progress.event == "retrying" && ++retries == 3) other.Run("COMMIT");
  };
  EXPECT_THAT(Up(), IsOk());
  EXPECT_EQ(retries, 3);
  EXPECT_THAT(texts, ::testing::Contains(AllOf(HasSubstr("waiting: a is locked by pid"),
                                               HasSubstr("(the-other, idle in transaction"))));
  EXPECT_EQ(database_.Sql("SELECT count(n) FROM a"), "0");
}

TEST_F(MigratorMovesTest, GivesUpAfterAllRetriesAndSaysWhoHadTheLock) {
  ASSERT_THAT(Up({.version = kDay2, .steps = {}}), IsOk());
  files_[2].text = "-- migrate:up\nALTER TABLE a ADD n int;\n-- migrate:down\n";
  SqlConnection other(database_.dsn().With("application_name", "the-other"));
  other.Run("BEGIN; LOCK TABLE a IN ACCESS SHARE MODE");
  options_.run = {.lock_timeout = absl::Milliseconds(200), .lock_retry = absl::Seconds(1)};
  const absl::Status status = Up();
  EXPECT_EQ(ProblemOf(status), Problem::kLocked);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("20260103000000_step.sql"), HasSubstr("55P03"),
            HasSubstr("a is locked by pid"), HasSubstr("the-other"), HasSubstr("--lock-retry")));
  // Others wait for 200 ms at most each time, and nothing of the file stays.
  EXPECT_EQ(database_.Versions(), absl::StrCat(kDay1, " ", kDay2));
}

}  // namespace
}  // namespace parley::db
