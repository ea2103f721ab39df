// Migrations that cannot run in a transaction: indexes made concurrently, and others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
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
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kTable[] = "20260101000000";
constexpr char kIndex[] = "20260102000000";

class ConcurrentSectionTest : public ::testing::Test {
 protected:
  ConcurrentSectionTest() {
    options_.report = [this](const Progress& progress) { events_.push_back(progress.event); };
  }

  // A table t (n), and then these statements, each outside a transaction.
  MigrationSet SetOf(const std::string& up, const std::string& down) const {
    return MigrationSet::FromFiles(
               {{absl::StrCat(kTable, "_table.sql"),
                 "-- migrate:up\nCREATE TABLE t (n int);\n-- migrate:down\nDROP TABLE t;\n"},
                {absl::StrCat(kIndex, "_index.sql"),
                 absl::StrCat("-- migrate:up transaction:false\n", up,
                              "\n-- migrate:down transaction:false\n", down, "\n")}})
        .value();
  }

  absl::Status Up(const MigrationSet& set, const Goal& goal = {}) {
    return MigrateUp(database_.dsn(), set, goal, options_);
  }

  // What a migrator that was killed in the middle leaves in the journal.
  void PretendInterrupted(const std::string& action) {
    database_.Sql(absl::StrCat(
        "INSERT INTO schema_migration_log (version, action, outcome, started_at) VALUES ('", kIndex,
        "', '", action, "', 'running', now())"));
  }
  void MakeInvalid() {
    database_.Sql(
        "CREATE INDEX t_n ON t (n);"
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_n'::regclass");
  }
  std::string IsValid() const {
    return database_.Sql("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('t_n')");
  }
  std::string Running() const {
    return database_.Sql("SELECT count(*) FROM schema_migration_log WHERE outcome = 'running'");
  }

  EmptyDatabase database_;
  MigrateOptions options_;
  std::vector<std::string> events_;
  const MigrationSet index_ =
      SetOf("CREATE INDEX CONCURRENTLY t_n ON t (n);", "DROP INDEX CONCURRENTLY t_n;");
};

TEST_F(ConcurrentSectionTest, GoesUpAndDown) {
  ASSERT_THAT(Up(index_), IsOk());
  EXPECT_EQ(IsValid(), "t");
  EXPECT_EQ(Running(), "0");
  ASSERT_THAT(MigrateDown(database_.dsn(), index_, Goal(), options_), IsOk());
  EXPECT_EQ(IsValid(), "");
  EXPECT_EQ(database_.Versions(), kTable);
  EXPECT_EQ(Running(), "0");
}

TEST_F(ConcurrentSectionTest, ManyAtOnceDoNotWaitForEachOtherForEver) {
  std::vector<absl::Status> statuses(32);
  {
    std::vector<std::jthread> threads;
    for (absl::Status& status : statuses) {
      threads.emplace_back([&] {
        status = MigrateUp(database_.dsn(), index_, Goal(), {.lock_wait = absl::Minutes(1)});
      });
    }
  }
  for (const absl::Status& status : statuses) EXPECT_THAT(status, IsOk());
  EXPECT_EQ(IsValid(), "t");
}

TEST_F(ConcurrentSectionTest, InterruptedIndexIsBuiltAgain) {
  ASSERT_THAT(Up(index_, {.version = kTable, .steps = {}}), IsOk());
  PretendInterrupted("up");
  MakeInvalid();
  events_.clear();
  ASSERT_THAT(Up(index_), IsOk());
  EXPECT_EQ(IsValid(), "t");
  EXPECT_EQ(Running(), "0");
  EXPECT_THAT(events_, ElementsAre("repaired", "applied"));
}

TEST_F(ConcurrentSectionTest, IndexThatWasFinishedBeforeTheKillIsRecorded) {
  ASSERT_THAT(Up(index_, {.version = kTable, .steps = {}}), IsOk());
  PretendInterrupted("up");
  database_.Sql("CREATE INDEX t_n ON t (n)");
  const std::string oid = database_.Sql("SELECT 't_n'::regclass::oid");
  ASSERT_THAT(Up(index_), IsOk());
  EXPECT_EQ(database_.Sql("SELECT 't_n'::regclass::oid"), oid);
  EXPECT_EQ(database_.Versions(), absl::StrCat(kTable, " ", kIndex));
}

TEST_F(ConcurrentSectionTest, InterruptedBeforeTheStatementRunsIt) {
  ASSERT_THAT(Up(index_, {.version = kTable, .steps = {}}), IsOk());
  PretendInterrupted("up");
  ASSERT_THAT(Up(index_), IsOk());
  EXPECT_EQ(IsValid(), "t");
}

TEST_F(ConcurrentSectionTest, InterruptedDropIsTakenUp) {
  for (const bool is_dropped : {false, true}) {
    ASSERT_THAT(Up(index_), IsOk());
    PretendInterrupted("down");
    if (is_dropped) database_.Sql("DROP INDEX t_n");
    EXPECT_EQ(ProblemOf(Up(index_)), Problem::kDirty) << "half way down is not up";
    ASSERT_THAT(MigrateDown(database_.dsn(), index_, Goal(), options_), IsOk());
    EXPECT_EQ(IsValid(), "");
    EXPECT_EQ(database_.Versions(), kTable);
    EXPECT_EQ(Running(), "0");
  }
}

TEST_F(ConcurrentSectionTest, InvalidIndexIsNotTakenForOneThatIsThere) {
  const MigrationSet set =
      SetOf("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"t_n\" ON ONLY public.t (n);", "");
  ASSERT_THAT(Up(set, {.version = kTable, .steps = {}}), IsOk());
  MakeInvalid();
  ASSERT_THAT(Up(set), IsOk());
  EXPECT_EQ(IsValid(), "t");
  EXPECT_EQ(database_.Sql("SELECT indisunique FROM pg_index WHERE indexrelid = 't_n'::regclass"),
            "t");
}

TEST_F(ConcurrentSectionTest, FailureLeavesNoInvalidIndex) {
  const MigrationSet set = SetOf("CREATE UNIQUE INDEX CONCURRENTLY t_n ON t (n);", "");
  ASSERT_THAT(Up(set, {.version = kTable, .steps = {}}), IsOk());
  database_.Sql("INSERT INTO t VALUES (1), (1)");
  const absl::Status status = Up(set);
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("20260102000000_index.sql"), HasSubstr("23505"),
                    HasSubstr("Nothing of this file was kept")));
  EXPECT_EQ(IsValid(), "");
  EXPECT_EQ(Running(), "0");
  database_.Sql("DELETE FROM t");
  EXPECT_THAT(Up(set), IsOk());
}

TEST_F(ConcurrentSectionTest, WaitsForOldTransactionsAndSaysWhose) {
  ASSERT_THAT(Up(index_, {.version = kTable, .steps = {}}), IsOk());
  SqlConnection other(database_.dsn().With("application_name", "the-other"));
  other.Run("BEGIN; INSERT INTO t VALUES (1)");
  std::vector<std::string> texts;
  options_.run.lock_timeout = absl::Milliseconds(100);
  options_.report = [&](const Progress& progress) {
    if (progress.event == "waiting") other.Run("COMMIT");
    texts.push_back(progress.text);
  };
  ASSERT_THAT(Up(index_), IsOk());
  EXPECT_THAT(texts, Contains(AllOf(HasSubstr("waiting: "), HasSubstr("the-other"))));
  EXPECT_EQ(IsValid(), "t");
}

TEST_F(ConcurrentSectionTest, DropThatFailsHalfWayIsTakenUp) {
  ASSERT_THAT(Up(index_), IsOk());
  SqlConnection other(database_.dsn());
  other.Run("BEGIN; SELECT FROM t");
  options_.report = [&](const Progress& progress) {
    if (progress.event != "waiting") return;
    database_.Sql(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DROP INDEX%'");
  };
  const absl::Status status = MigrateDown(database_.dsn(), index_, Goal(), options_);
  EXPECT_EQ(ProblemOf(status), Problem::kDirty);
  EXPECT_THAT(std::string(status.message()), HasSubstr("57014"));
  other.Run("COMMIT");
  ASSERT_THAT(MigrateDown(database_.dsn(), index_, Goal(), options_), IsOk());
  EXPECT_EQ(IsValid(), "");
  EXPECT_EQ(Running(), "0");
}

TEST_F(ConcurrentSectionTest, AnIndexNeedsAName) {
  const MigrationSet set = SetOf("CREATE INDEX CONCURRENTLY ON t (n);", "");
  const absl::Status status = Up(set);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("20260102000000_index.sql:2: an index"));
  EXPECT_EQ(Running(), "0");
}

TEST_F(ConcurrentSectionTest, OtherStatementsKeepNobodyWaitingForLong) {
  const MigrationSet set = SetOf("ALTER TABLE t ADD m int;", "");
  ASSERT_THAT(Up(set, {.version = kTable, .steps = {}}), IsOk());
  SqlConnection other(database_.dsn());
  other.Run("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE");
  options_.run = {.lock_timeout = absl::Milliseconds(100), .lock_retry = absl::Milliseconds(500)};
  EXPECT_EQ(ProblemOf(Up(set)), Problem::kLocked);
  EXPECT_THAT(events_, Contains("retrying"));
  EXPECT_EQ(Running(), "0");
  other.Run("COMMIT");
  EXPECT_THAT(Up(set), IsOk());
}

TEST_F(ConcurrentSectionTest, FailureThatMayHaveDoneAPartSaysSo) {
  const MigrationSet set =
      SetOf("DO $$ BEGIN INSERT INTO t VALUES (1); COMMIT; PERFORM 1 / 0; END $$;", "");
  const absl::Status status = Up(set);
  EXPECT_EQ(ProblemOf(status), Problem::kDirty);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("22012"), HasSubstr("It may have done a part")));
  EXPECT_EQ(ProblemOf(Up(set)), Problem::kDirty);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM t"), "1");
}

TEST_F(ConcurrentSectionTest, TimeoutsOfTheRoleEndNothing) {
  ASSERT_THAT(Up(index_, {.version = kTable, .steps = {}}), IsOk());
  MakeInvalid();
  const std::string alter = absl::StrCat("ALTER DATABASE ", database_.name(), " SET ");
  database_.Sql(absl::StrCat(alter, "statement_timeout = 50;", alter, "lock_timeout = 50;", alter,
                             "default_transaction_read_only = on"));
  SqlConnection other(database_.dsn().With("options", "-c default_transaction_read_only=off"));
  other.Run("BEGIN; INSERT INTO t VALUES (1)");
  int waits = 0;
  options_.report = [&](const Progress& progress) {
    if (progress.event != "waiting" || ++waits > 1) return;
    absl::SleepFor(absl::Milliseconds(200));
    other.Run("COMMIT");
  };
  ASSERT_THAT(Up(index_), IsOk());
  EXPECT_EQ(IsValid(), "t");
}

TEST_F(ConcurrentSectionTest, InterruptedFileComesBeforeAnOlderOne) {
  ASSERT_THAT(Up(index_, {.version = kTable, .steps = {}}), IsOk());
  PretendInterrupted("up");
  MakeInvalid();
  std::vector<MigrationFile> files = {
      {"20260101120000_late.sql", "-- migrate:up\nCREATE TABLE late ();\n-- migrate:down\n"}};
  for (const Migration& migration : index_.migrations()) {
    files.push_back(
        {migration.file_name,
         absl::StrCat("-- migrate:up", migration.up.is_transactional ? "" : " transaction:false",
                      "\n", migration.up.sql, "-- migrate:down",
                      migration.down.is_transactional ? "" : " transaction:false", "\n",
                      migration.down.sql)});
  }
  ASSERT_THAT(Up(MigrationSet::FromFiles(files).value()), IsOk());
  EXPECT_EQ(IsValid(), "t");
  EXPECT_TRUE(database_.HasTable("late"));
}

TEST_F(ConcurrentSectionTest, StampClosesWhatWasInterrupted) {
  ASSERT_THAT(Up(index_, {.version = kTable, .steps = {}}), IsOk());
  PretendInterrupted("up");
  ASSERT_THAT(Stamp(database_.dsn(), index_, kIndex, options_), IsOk());
  EXPECT_EQ(Running(), "0");
  EXPECT_THAT(Up(index_), IsOk());
}

TEST_F(ConcurrentSectionTest, OfOtherStatementsSomebodyHasToSayWhatBecame) {
  database_.Sql("CREATE TYPE mood AS ENUM ('good')");
  const MigrationSet set = SetOf("ALTER TYPE mood ADD VALUE 'bad';", "");
  ASSERT_THAT(Up(set, {.version = kTable, .steps = {}}), IsOk());
  PretendInterrupted("up");
  const absl::Status status = Up(set);
  EXPECT_EQ(ProblemOf(status), Problem::kDirty);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("repair --done 20260102000000"), HasSubstr("repair --undone")));
  EXPECT_EQ(ProblemOf(Repair(database_.dsn(), set, {.done = kTable, .undone = ""}, options_)),
            Problem::kUsage);

  ASSERT_THAT(Repair(database_.dsn(), set, {.done = "", .undone = kIndex}, options_), IsOk());
  ASSERT_THAT(Up(set), IsOk());
  EXPECT_EQ(database_.Sql("SELECT enum_range(NULL::mood)"), "{good,bad}");
}

TEST_F(ConcurrentSectionTest, WhatWasDoneIsRecordedByRepair) {
  const MigrationSet set = SetOf("VACUUM t;", "");
  ASSERT_THAT(Up(set, {.version = kTable, .steps = {}}), IsOk());
  PretendInterrupted("up");
  ASSERT_THAT(Repair(database_.dsn(), set, {.done = kIndex, .undone = ""}, options_), IsOk());
  EXPECT_EQ(database_.Versions(), absl::StrCat(kTable, " ", kIndex));
  EXPECT_THAT(Up(set), IsOk());
}

}  // namespace
}  // namespace parley::db
