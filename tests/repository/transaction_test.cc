#include "db/core/transaction.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

using parley::testing::IsOk;
using parley::testing::IsOkAndHolds;
using parley::testing::SqlConnection;
using parley::testing::StatusIs;
using parley::testing::TempDatabase;

class Transaction : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    database_ = new TempDatabase();
    database_->Sql("CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL)");
  }
  static void TearDownTestSuite() { delete database_; }
  void SetUp() override {
    database_->Sql("TRUNCATE accounts; INSERT INTO accounts VALUES (1, 0), (2, 0)");
  }

  static absl::Time Soon() { return absl::Now() + absl::Seconds(30); }
  static std::string Balance(int id) {
    return database_->Sql("SELECT balance FROM accounts WHERE id = " + std::to_string(id));
  }
  static absl::StatusOr<int> Add(Session& session, int id) {
    const std::string sql =
        "UPDATE accounts SET balance = balance + 1 WHERE id = " + std::to_string(id);
    PARLEY_RETURN_IF_ERROR(session.Command(sql.c_str()));
    return id;
  }

  static TempDatabase* database_;
};
TempDatabase* Transaction::database_ = nullptr;

TEST_F(Transaction, CommitsWhatTheBodyWrote) {
  EXPECT_THAT(RunTransaction(database_->pool(), Soon(), OnLostCommit::kInDoubt,
                             [](Session& session) { return Add(session, 1); }),
              IsOkAndHolds(1));
  EXPECT_EQ(Balance(1), "1");
}

TEST_F(Transaction, WritesNothingWhenTheBodyFails) {
  EXPECT_THAT(RunTransaction(database_->pool(), Soon(), OnLostCommit::kInDoubt,
                             [](Session& session) -> absl::StatusOr<int> {
                               PARLEY_RETURN_IF_ERROR(Add(session, 1).status());
                               return Error(absl::StatusCode::kNotFound, reason::kChatNotFound, "");
                             }),
              StatusIs(absl::StatusCode::kNotFound, reason::kChatNotFound));
  EXPECT_EQ(Balance(1), "0");
}

TEST_F(Transaction, WritesNothingWhenTheDeadlinePassesBeforeTheCommit) {
  const absl::Time deadline = absl::Now() + absl::Milliseconds(40);
  EXPECT_THAT(RunTransaction(database_->pool(), deadline, OnLostCommit::kInDoubt,
                             [&](Session& session) -> absl::StatusOr<int> {
                               absl::StatusOr<int> added = Add(session, 1);
                               while (absl::Now() < deadline) std::this_thread::yield();
                               return added;
                             }),
              StatusIs(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded));
  EXPECT_EQ(Balance(1), "0");
}

TEST_F(Transaction, RunsAgainAfterADeadlock) {
  std::atomic<int> runs{0};
  std::atomic<int> holding{0};
  const auto transfer = [&](int from, int to) {
    const auto result = RunTransaction(database_->pool(), Soon(), OnLostCommit::kInDoubt,
                                       [&](Session& session) -> absl::StatusOr<int> {
                                         ++runs;
                                         PARLEY_RETURN_IF_ERROR(Add(session, from).status());
                                         // The first time round, both hold one row before either
                                         // asks for the other.
                                         ++holding;
                                         while (holding < 2) std::this_thread::yield();
                                         return Add(session, to);
                                       });
    EXPECT_THAT(result, IsOk());
  };
  std::thread other([&] { transfer(2, 1); });
  transfer(1, 2);
  other.join();
  EXPECT_GE(runs, 3);
  EXPECT_EQ(Balance(1), "2");
  EXPECT_EQ(Balance(2), "2");
}

TEST_F(Transaction, RunsAgainWhenTheConnectionBrokeBeforeTheCommit) {
  std::atomic<int> runs{0};
  EXPECT_THAT(
      RunTransaction(database_->pool(), Soon(), OnLostCommit::kInDoubt,
                     [&](Session& session) -> absl::StatusOr<int> {
                       if (++runs == 1) {
                         (void)session.Command("SELECT pg_terminate_backend(pg_backend_pid())");
                       }
                       return Add(session, 1);
                     }),
      IsOk());
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(Balance(1), "1");
}

// Ends the session's backend while its COMMIT waits in a deferred trigger.
class LostCommit : public Transaction {
 protected:
  void SetUp() override {
    Transaction::SetUp();
    database_->Sql(
        "CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER hang_up AFTER UPDATE ON accounts "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hang_up()");
  }
  void TearDown() override { database_->Sql("DROP FUNCTION hang_up CASCADE"); }
};

TEST_F(LostCommit, IsInDoubtWithoutARequestId) {
  EXPECT_THAT(RunTransaction(database_->pool(), Soon(), OnLostCommit::kInDoubt,
                             [](Session& session) { return Add(session, 1); }),
              StatusIs(absl::StatusCode::kUnknown, reason::kCommitInDoubt));
}

TEST_F(LostCommit, MayBeRetriedWithARequestId) {
  EXPECT_THAT(RunTransaction(database_->pool(), Soon(), OnLostCommit::kSafeToRetry,
                             [](Session& session) { return Add(session, 1); }),
              StatusIs(absl::StatusCode::kUnavailable, reason::kCommitInDoubt));
}

TEST_F(Transaction, GivesUpWaitingForALockAtTheDeadline) {
  SqlConnection holder(database_->dsn());
  holder.Run("BEGIN; UPDATE accounts SET balance = 7 WHERE id = 1");
  EXPECT_THAT(
      RunTransaction(database_->pool(), absl::Now() + absl::Milliseconds(100),
                     OnLostCommit::kInDoubt, [](Session& session) { return Add(session, 1); }),
      StatusIs(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded));
  holder.Run("ROLLBACK");
  EXPECT_EQ(Balance(1), "0");
}

}  // namespace
}  // namespace parley::db
