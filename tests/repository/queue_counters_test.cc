// The counters of queues: they say what counting the rows would say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "db/repository/statements.h"
#include "tests/repository/task_fixture.h"
#include "tests/support/status_matchers.h"

namespace parley::testing {
namespace {

class QueueCountersTest : public TaskRepositoryTest {
 protected:
  // pending, running, dead | created, succeeded, cancelled, expired, died, retried
  std::string Counters(const std::string& queue) {
    return database_.Sql(
        "SELECT concat_ws(' ', sum(pending), sum(running), sum(dead), '|', sum(created), "
        "sum(succeeded), sum(cancelled), sum(expired), sum(died), sum(retried)) "
        "FROM queue_counters WHERE queue = '" +
        queue + "'");
  }

  Claimed ClaimOne(const std::string& queue) {
    Claimed claimed = Claim({queue});
    EXPECT_EQ(claimed.tasks.size(), 1U);
    return claimed;
  }

  void End(const Claimed& claimed, AttemptEnd::Kind kind) {
    EXPECT_THAT(tasks_.EndAttempt({.lease = {claimed.tasks.at(0).id, claimed.token}, .kind = kind},
                                  Deadline()),
                IsOk());
  }
};

TEST_F(QueueCountersTest, FollowATaskOnEachOfItsWays) {
  const std::int64_t id = Create(MakeTask()).id;
  Create(MakeTask("other"));
  EXPECT_EQ(Counters("q"), "1 0 0 | 1 0 0 0 0 0");
  Claimed claimed = ClaimOne("q");
  EXPECT_EQ(Counters("q"), "0 1 0 | 1 0 0 0 0 0");
  ASSERT_THAT(tasks_.ExtendLease({id, claimed.token}, absl::Minutes(1), Deadline()), IsOk());
  EXPECT_EQ(Counters("q"), "0 1 0 | 1 0 0 0 0 0");
  End(claimed, AttemptEnd::Kind::kReleased);
  EXPECT_EQ(Counters("q"), "1 0 0 | 1 0 0 0 0 0");
  End(ClaimOne("q"), AttemptEnd::Kind::kFailed);
  EXPECT_EQ(Counters("q"), "1 0 0 | 1 0 0 0 0 1");
  ASSERT_THAT(tasks_.RescheduleTask(id, {}, Deadline()), IsOk());
  End(ClaimOne("q"), AttemptEnd::Kind::kFailedForGood);
  EXPECT_EQ(Counters("q"), "0 0 1 | 1 0 0 0 1 1");
  ASSERT_THAT(tasks_.RedriveTask(id, Deadline()), IsOk());
  EXPECT_EQ(Counters("q"), "1 0 0 | 1 0 0 0 1 1");
  claimed = ClaimOne("q");
  ASSERT_THAT(Ack({id, claimed.token}), IsOk());
  EXPECT_EQ(Counters("q"), "0 0 0 | 1 1 0 0 1 1");
  EXPECT_EQ(Counters("other"), "1 0 0 | 1 0 0 0 0 0");
}

TEST_F(QueueCountersTest, TellHowTasksEndThatNobodyHas) {
  ASSERT_THAT(tasks_.CancelTask(Create(MakeTask()).id, Deadline()), IsOk());
  NewTask late = MakeTask();
  late.expire_time = absl::Now() - absl::Seconds(1);
  Create(late);
  ASSERT_THAT(tasks_.ExpireTasks(10, Deadline()), IsOkAndHolds(1));
  EXPECT_EQ(Counters("q"), "0 0 0 | 2 0 1 1 0 0");
}

TEST_F(QueueCountersTest, TellThatAClaimWhoseAnswerGotLostIsReleased) {
  Create(MakeTask());
  const Claimed claimed = ClaimOne("q");
  database_.Sql(absl::StrCat("PREPARE release AS ", db::sql::task_hot::ReleaseClaim.sql,
                             "; EXECUTE release('", claimed.token, "')"));
  EXPECT_EQ(Counters("q"), "1 0 0 | 1 0 0 0 0 0");
}

TEST_F(QueueCountersTest, NoTransactionWaitsForAnotherToCount) {
  SqlConnection other(database_.dsn());
  other.Run("BEGIN");
  other.Run(
      "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts) "
      "VALUES ('q', 'n', '', now(), 0, 1)");
  Create(MakeTask());
  EXPECT_EQ(Counters("q"), "1 0 0 | 1 0 0 0 0 0");
  other.Run("COMMIT");
  EXPECT_EQ(Counters("q"), "2 0 0 | 2 0 0 0 0 0");
}

}  // namespace
}  // namespace parley::testing
