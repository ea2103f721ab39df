// Claims, and how they end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "tests/repository/task_fixture.h"
#include "tests/support/run_threads.h"
#include "tests/support/status_matchers.h"

namespace parley::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr absl::StatusCode kAborted = absl::StatusCode::kAborted;

TEST_F(TaskRepositoryTest, ClaimsByPriorityThenByTimeOverSeveralQueues) {
  const auto put = [&](const std::string& queue, std::int32_t priority) {
    NewTask task = MakeTask(queue);
    task.priority = priority;
    return Create(task).id;
  };
  const std::int64_t low = put("a", 0);
  const std::int64_t first = put("b", 5);
  const std::int64_t second = put("a", 5);
  const std::int64_t third = put("b", 5);
  const std::int64_t top = put("a", 9);
  put("other", 9);
  NewTask future = MakeTask("a");
  future.priority = 9;
  future.delay = absl::Hours(1);
  Create(future);
  EXPECT_THAT(Ids(Claim({"a", "b"}, 3).tasks), ElementsAre(top, first, second));
  EXPECT_THAT(Ids(Claim({"b", "a"}, 100).tasks), ElementsAre(third, low));
  EXPECT_THAT(Claim({"a", "b"}).tasks, IsEmpty());
}

TEST_F(TaskRepositoryTest, AClaimCountsTheAttemptAndLeases) {
  Create(MakeTask());
  const Claimed claimed = Claim({"q"}, 1, absl::Seconds(7));
  ASSERT_THAT(claimed.tasks, SizeIs(1));
  const Task& task = claimed.tasks.front();
  EXPECT_EQ(task.state, TaskState::kRunning);
  EXPECT_EQ(task.attempt, 1);
  ASSERT_TRUE(task.lease_until);
  EXPECT_EQ(*task.lease_until - task.update_time, absl::Seconds(7));
}

TEST_F(TaskRepositoryTest, AClaimPassesOverWhatAnotherHasItsHandsOn) {
  const Task locked = Create(MakeTask());
  const Task free = Create(MakeTask());
  SqlConnection other(database_.dsn());
  other.Run("BEGIN");
  other.Run(absl::StrCat("SELECT 1 FROM tasks WHERE id = ", locked.id, " FOR UPDATE"));
  EXPECT_THAT(Ids(Claim({"q"}, 2).tasks), ElementsAre(free.id));
  other.Run("ROLLBACK");
  EXPECT_THAT(Ids(Claim({"q"}, 2).tasks), ElementsAre(locked.id));
}

TEST_F(TaskRepositoryTest, ConcurrentClaimsNeverTakeATaskTwice) {
  constexpr int kTasks = 200;
  database_.Sql(
      absl::StrCat("INSERT INTO tasks (queue, name, payload, run_at, priority, "
                   "max_attempts) SELECT 'q', 'n', '', now(), i % 10, 3 "
                   "FROM generate_series(1, ",
                   kTasks, ") AS i"));
  std::atomic<std::int64_t> taken{0};
  RunThreads(6, [&](int thread) {
    db::TaskClaimer claimer(database_.dsn());
    for (int n = 0; taken < kTasks; ++n) {
      const std::string token = absl::StrFormat("%016x%016x", thread, n);
      const auto tasks = claimer.Claim({{"q"}, 7, absl::Minutes(1), token}, Deadline());
      ASSERT_THAT(tasks, IsOk());
      taken += static_cast<std::int64_t>(tasks->size());
    }
  });
  EXPECT_EQ(taken, kTasks);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM tasks WHERE state = 'running' AND attempt = 1"),
            absl::StrCat(kTasks));
}

TEST_F(TaskRepositoryTest, AnAckedTaskIsDoneAndTheSameAckIsAnsweredAgain) {
  const Task task = Create(MakeTask());
  const Claimed claimed = Claim({"q"});
  for (const std::string& result : {std::string("\0\xff", 2), std::string("another")}) {
    const auto acked = Ack({task.id, claimed.token}, result);
    ASSERT_THAT(acked, IsOk());
    EXPECT_EQ(acked->state, TaskState::kSucceeded);
    EXPECT_EQ(acked->result, std::string("\0\xff", 2));  // the first one's
    EXPECT_FALSE(acked->lease_until);
  }
  EXPECT_THAT(Ack({task.id, kNoToken}), StatusIs(kAborted, reason::kLeaseLost));
  ExpireLeases();
  EXPECT_THAT(tasks_.RescueExpired(10, Deadline()), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(Claim({"q"}).tasks, IsEmpty());
}

TEST_F(TaskRepositoryTest, AStaleTokenChangesNothing) {
  const Task task = Create(MakeTask());
  const Claimed old = Claim({"q"});
  ExpireLeases();
  ASSERT_THAT(tasks_.RescueExpired(10, Deadline()), IsOkAndHolds(SizeIs(1)));
  const auto refuses_all = [&] {
    const LeaseKey key{task.id, old.token};
    const std::string before = database_.Sql("SELECT t::text FROM tasks AS t");
    const auto lost = StatusIs(kAborted, std::string(reason::kLeaseLost));
    EXPECT_THAT(Ack(key), lost);
    EXPECT_THAT(tasks_.EndAttempt({.lease = key, .error = "late"}, Deadline()), lost);
    EXPECT_THAT(tasks_.ExtendLease(key, absl::Hours(1), Deadline()), lost);
    EXPECT_THAT(
        tasks_.EndAttempts({{.lease = key, .kind = AttemptEnd::Kind::kReleased}}, Deadline()),
        IsOkAndHolds(IsEmpty()));
    EXPECT_THAT(tasks_.WhyNotHeld(key, Deadline()), lost);
    EXPECT_EQ(database_.Sql("SELECT t::text FROM tasks AS t"), before);
  };
  refuses_all();  // nobody has it
  const Claimed current = Claim({"q"});
  ASSERT_THAT(current.tasks, SizeIs(1));
  refuses_all();  // somebody else has it
  EXPECT_THAT(Ack({task.id, current.token}), IsOk());
}

TEST_F(TaskRepositoryTest, ALeaseThatNobodyHasRescuedYetStillCounts) {
  const Task task = Create(MakeTask());
  const Claimed claimed = Claim({"q"});
  ExpireLeases();
  EXPECT_THAT(Ack({task.id, claimed.token}), IsOk());
}

// What FailTask leads to: how long the task rests, and what it looks like then.
struct Rest {
  Task task;
  absl::Duration length;
};

class TaskRetryTest : public TaskRepositoryTest {
 protected:
  // Claims the only task of queue q and fails it.
  Rest FailOnce(AttemptEnd::Kind kind = AttemptEnd::Kind::kFailed) {
    const Claimed claimed = Claim({"q"});
    EXPECT_THAT(claimed.tasks, SizeIs(1));
    if (claimed.tasks.size() != 1) return {};
    const Task& task = claimed.tasks.front();
    auto failed = tasks_.EndAttempt({.lease = {task.id, claimed.token},
                                     .kind = kind,
                                     .error = absl::StrCat("no luck ", task.attempt)},
                                    Deadline());
    EXPECT_THAT(failed, IsOk());
    if (!failed.ok()) return {};
    const absl::Duration length = failed->run_time - failed->update_time;
    if (failed->state == TaskState::kPending) {
      EXPECT_THAT(tasks_.RescheduleTask(task.id, {}, Deadline()), IsOk());
    }
    return {*std::move(failed), length};
  }

  static NewTask Stubborn() {
    NewTask task = MakeTask();
    task.max_attempts = 8;
    return task;
  }
};

TEST_F(TaskRetryTest, AFailedTaskRestsLongerEachTimeUpToTheLongest) {
  NewTask task = Stubborn();
  task.retry = {
      .first = absl::Minutes(2), .longest = absl::Minutes(15), .multiplier = 2.5, .jitter = 0};
  Create(task);
  std::int32_t attempt = 0;
  for (const absl::Duration rest :
       {absl::Minutes(2), absl::Minutes(5), absl::Minutes(12.5), absl::Minutes(15)}) {
    ++attempt;
    const Rest failed = FailOnce();
    EXPECT_EQ(failed.length, rest);
    EXPECT_EQ(failed.task.state, TaskState::kPending);
    EXPECT_EQ(failed.task.attempt, attempt);
    ASSERT_THAT(failed.task.errors, SizeIs(attempt));
    EXPECT_EQ(failed.task.errors.back().attempt, attempt);
    EXPECT_EQ(failed.task.errors.back().time, failed.task.update_time);
    EXPECT_EQ(failed.task.errors.back().text, absl::StrCat("no luck ", attempt));
    EXPECT_FALSE(failed.task.lease_until);
  }
}

TEST_F(TaskRetryTest, RestsASecondAndTwiceAsLongEachTimeGiveOrTakeATenth) {
  Create(Stubborn());
  for (const int seconds : {1, 2, 4, 8, 16}) {
    const absl::Duration length = FailOnce().length;
    EXPECT_GE(length, absl::Seconds(seconds) * 0.9);
    EXPECT_LE(length, absl::Seconds(seconds) * 1.1);
  }
}

TEST_F(TaskRetryTest, RestsNoLongerThanTheLongestWhateverTheJitter) {
  NewTask task = MakeTask();
  task.max_attempts = 100;
  task.retry = {
      .first = absl::Hours(1), .longest = absl::Minutes(10), .multiplier = 1, .jitter = 0.5};
  Create(task);
  std::set<absl::Duration> lengths;
  for (int i = 0; i < 40; ++i) {
    const absl::Duration length = FailOnce().length;
    EXPECT_GE(length, absl::Minutes(5));
    EXPECT_LE(length, absl::Minutes(10));
    lengths.insert(length);
  }
  EXPECT_GT(lengths.size(), 30U);  // what failed together does not come back together
}

TEST_F(TaskRetryTest, TheTaskGoesBeforeTheQueueAndTheQueueBeforeTheDefault) {
  database_.Sql(
      "INSERT INTO queues (name, retry, max_attempts) VALUES "
      "('q', '{\"first_us\": 60000000, \"jitter\": 0, \"multiplier\": 3}', 2)");
  NewTask task = MakeTask();
  task.max_attempts = 0;
  task.retry.multiplier = 4;
  const Task created = Create(task);
  EXPECT_EQ(created.max_attempts, 2);
  EXPECT_EQ(created.options.retry, task.retry);
  EXPECT_EQ(FailOnce().length, absl::Minutes(1));
  EXPECT_EQ(FailOnce().task.state, TaskState::kDead);
  ASSERT_THAT(tasks_.RedriveTask(created.id, Deadline()), IsOk());
  database_.Sql("UPDATE tasks SET max_attempts = 5");
  EXPECT_EQ(FailOnce().length, absl::Minutes(1));
  EXPECT_EQ(FailOnce().length, absl::Minutes(4));
}

TEST_F(TaskRetryTest, WhoseWorkerIsGoneIsDueAtOnce) {
  Create(Stubborn());
  const Rest failed = FailOnce(AttemptEnd::Kind::kAbandoned);
  EXPECT_EQ(failed.length, absl::ZeroDuration());
  EXPECT_EQ(failed.task.attempt, 1);
}

TEST_F(TaskRetryTest, NoLeaseOutlastsTheRunTimeout) {
  NewTask task = Stubborn();
  task.run_timeout = absl::Seconds(40);
  task.retry = {.first = absl::Hours(1), .jitter = 0};
  Create(task);
  const Claimed claimed = Claim({"q"}, 1, absl::Minutes(10));
  ASSERT_THAT(claimed.tasks, SizeIs(1));
  const Task& held = claimed.tasks.front();
  EXPECT_EQ(held.options.run_timeout, absl::Seconds(40));
  ASSERT_TRUE(held.lease_until);
  EXPECT_EQ(*held.lease_until - held.update_time, absl::Seconds(40));
  const LeaseKey key = {held.id, claimed.token};
  const auto extended = tasks_.ExtendLease(key, absl::Minutes(5), Deadline());
  ASSERT_THAT(extended, IsOk());
  EXPECT_EQ(extended->lease_until, held.lease_until);

  database_.Sql(
      "UPDATE tasks SET lease_until = now() - interval '1 s', deadline_at = lease_until - interval "
      "'1 h'");
  ASSERT_THAT(tasks_.RescueExpired(10, Deadline()), IsOkAndHolds(SizeIs(1)));
  const auto late = tasks_.GetTask(held.id, Deadline());
  ASSERT_THAT(late, IsOk());
  EXPECT_EQ(late->run_time - late->update_time, absl::Hours(1));
  ASSERT_THAT(late->errors, SizeIs(1));
  EXPECT_EQ(late->errors.back().text, "the run timeout is over");
}

TEST_F(TaskRepositoryTest, ATaskIsDeadAfterItsLastAttempt) {
  NewTask twice = MakeTask();
  twice.max_attempts = 2;
  const Task task = Create(twice);
  for (const TaskState expected : {TaskState::kPending, TaskState::kDead}) {
    const Claimed claimed = Claim({"q"});
    ASSERT_THAT(claimed.tasks, SizeIs(1));
    const auto failed = tasks_.EndAttempt(
        {.lease = {task.id, claimed.token}, .kind = AttemptEnd::Kind::kAbandoned, .error = "no"},
        Deadline());
    ASSERT_THAT(failed, IsOk());
    EXPECT_EQ(failed->state, expected);
  }
  EXPECT_THAT(Claim({"q"}).tasks, IsEmpty());
}

TEST_F(TaskRepositoryTest, ExtendsALeaseWithoutTouchingAnIndex) {
  const Task task = Create(MakeTask());
  const Claimed claimed = Claim({"q"}, 1, absl::Seconds(1));
  const auto extended = tasks_.ExtendLease({task.id, claimed.token}, absl::Minutes(30), Deadline());
  ASSERT_THAT(extended, IsOk());
  ASSERT_TRUE(extended->lease_until);
  EXPECT_EQ(*extended->lease_until - extended->update_time, absl::Minutes(30));
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM pg_index AS i JOIN pg_attribute AS a "
                          "ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) "
                          "WHERE i.indrelid = 'tasks'::regclass "
                          "AND a.attname IN ('lease_until', 'updated_at', 'lease_token')"),
            "0");
}

TEST_F(TaskRepositoryTest, AReleasedTaskIsAsIfItHadNotBeenClaimed) {
  const Task task = Create(MakeTask());
  const Claimed claimed = Claim({"q"});
  const auto released = tasks_.EndAttempt(
      {.lease = {task.id, claimed.token}, .kind = AttemptEnd::Kind::kReleased}, Deadline());
  ASSERT_THAT(released, IsOk());
  EXPECT_EQ(released->state, TaskState::kPending);
  EXPECT_EQ(released->attempt, 0);
  EXPECT_EQ(released->run_time, task.run_time);
}

TEST_F(TaskRepositoryTest, RescuesOnlyWhatHasRunOutAndCountsTheAttempt) {
  NewTask once = MakeTask("once");
  once.max_attempts = 1;
  Create(once);
  Create(MakeTask("again"));
  Claim({"once", "again"}, 2);
  EXPECT_THAT(tasks_.RescueExpired(10, Deadline()), IsOkAndHolds(IsEmpty()));
  ExpireLeases();
  std::set<std::string> rescued;
  for (int i = 0; i < 2; ++i) {
    const auto batch = tasks_.RescueExpired(1, Deadline());
    ASSERT_THAT(batch, IsOkAndHolds(SizeIs(1)));
    const auto& task = batch->front();
    EXPECT_EQ(task.state, task.queue == "once" ? TaskState::kDead : TaskState::kPending);
    rescued.insert(task.queue);
  }
  EXPECT_THAT(rescued, SizeIs(2));
  EXPECT_THAT(tasks_.RescueExpired(10, Deadline()), IsOkAndHolds(IsEmpty()));
  const Claimed second = Claim({"again"});
  ASSERT_THAT(second.tasks, SizeIs(1));
  EXPECT_EQ(second.tasks.front().attempt, 2);
  ASSERT_THAT(second.tasks.front().errors, SizeIs(1));
  EXPECT_EQ(second.tasks.front().errors[0].text, "the lease ran out");
}

TEST_F(TaskRepositoryTest, TellsWhenTheNextTaskOfEachQueueIsDue) {
  NewTask later = MakeTask("later");
  later.delay = absl::Hours(2);
  later.priority = 9;
  Create(later);
  later.delay = absl::Hours(1);
  later.priority = 0;
  Create(later);
  Create(MakeTask("now"));
  Create(MakeTask("taken"));
  Claim({"taken"});
  const auto next = claimer_.FindNextDue({"later", "now", "taken", "none"}, Deadline());
  ASSERT_THAT(next, IsOkAndHolds(SizeIs(4)));
  for (const auto& queue : *next) {
    EXPECT_FALSE(queue.limited);
    if (queue.queue == "now") {
      EXPECT_LE(queue.due_in, absl::ZeroDuration());
    } else if (queue.queue == "later") {
      EXPECT_LE(queue.due_in, absl::Hours(1));
      EXPECT_GT(queue.due_in, absl::Minutes(59));
    } else {
      EXPECT_EQ(queue.due_in, absl::InfiniteDuration());
    }
  }
}

}  // namespace
}  // namespace parley::testing
