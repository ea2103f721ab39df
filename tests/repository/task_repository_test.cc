#include "db/repository/task_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "tests/repository/task_fixture.h"
#include "tests/support/run_threads.h"
#include "tests/support/status_matchers.h"

namespace parley::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr absl::StatusCode kNotFound = absl::StatusCode::kNotFound;

TEST_F(TaskRepositoryTest, KeepsEverythingThatATaskWasCreatedWith) {
  NewTask task = MakeTask();
  task.payload = std::string("\0\xff'\\ \n", 6);
  task.headers = {{"a \"b\"", "c\\d :x 'e'"}, {"\xc3\xa4", ""}};
  task.run_time = absl::FromUnixMicros(253402300799999999);  // the last of year 9999
  task.priority = 9;
  task.expire_time = *task.run_time;
  task.local_time = LocalTime{"9999-12-31T23:59:59.999999", "UTC", GapPolicy::kReject,
                              FoldPolicy::kSecond, LocalTimeResolution::kAmbiguous};
  const Task created = Create(task);
  const absl::StatusOr<Task> read = tasks_.GetTask(created.id, Deadline());
  ASSERT_THAT(read, IsOk());
  for (const Task& got : {created, *read}) {
    EXPECT_EQ(got.queue, "q");
    EXPECT_EQ(got.name, "work");
    EXPECT_EQ(got.payload, task.payload);
    EXPECT_EQ(got.headers, task.headers);
    EXPECT_EQ(got.run_time, *task.run_time);
    EXPECT_EQ(got.priority, 9);
    EXPECT_EQ(got.state, TaskState::kPending);
    EXPECT_EQ(got.attempt, 0);
    EXPECT_EQ(got.max_attempts, 3);
    EXPECT_FALSE(got.lease_until);
    EXPECT_THAT(got.errors, IsEmpty());
    EXPECT_EQ(got.expire_time, task.expire_time);
    EXPECT_EQ(got.result, "");
    ASSERT_TRUE(got.options.local_time);
    EXPECT_EQ(got.options.local_time->date_time, "9999-12-31T23:59:59.999999");
    EXPECT_EQ(got.options.local_time->gap_policy, GapPolicy::kReject);
    EXPECT_EQ(got.options.local_time->fold_policy, FoldPolicy::kSecond);
    EXPECT_EQ(got.options.local_time->resolution, LocalTimeResolution::kAmbiguous);
  }
}

TEST_F(TaskRepositoryTest, CountsADelayFromTheCreationAndTakesThePastForNow) {
  NewTask task = MakeTask();
  task.delay = absl::Microseconds(1500001);
  const Task delayed = Create(task);
  EXPECT_EQ(delayed.run_time - delayed.create_time, task.delay);
  task.delay = absl::ZeroDuration();
  const Task now = Create(task);
  EXPECT_EQ(now.run_time, now.create_time);
  task.run_time = absl::FromUnixMicros(-1);
  const Task past = Create(task);
  EXPECT_EQ(past.run_time, past.create_time);
}

TEST_F(TaskRepositoryTest, ARequestIdCreatesOneTaskHoweverManySendIt) {
  db::TaskCreator other(database_.dsn(), {});
  std::vector<std::int64_t> ids(16);
  std::atomic<int> created{0};
  RunThreads(16, [&](int thread) {
    db::TaskCreator& creator = thread % 2 == 0 ? creator_ : other;
    const auto outcome = Await<db::TaskCreator::Outcomes>([&](auto done) {
                           creator.Create({{MakeTask(), "once", "f"}}, Deadline(), std::move(done));
                         }).front();
    ASSERT_THAT(outcome, IsOk());
    ids[static_cast<std::size_t>(thread)] = outcome->id;
    if (outcome->is_new) ++created;
  });
  EXPECT_THAT(std::set<std::int64_t>(ids.begin(), ids.end()), SizeIs(1));
  EXPECT_EQ(created, 1);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM tasks"), "1");
}

TEST_F(TaskRepositoryTest, ARequestIdStandsForItsContent) {
  const auto first = TryCreate(MakeTask(), "r");
  ASSERT_THAT(first, IsOk());
  const auto second = TryCreate(MakeTask(), "r");
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(second->id, first->id);
  EXPECT_FALSE(second->is_new);
  EXPECT_THAT(TryCreate(MakeTask(), "r", "other"),
              StatusIs(absl::StatusCode::kAlreadyExists, reason::kRequestIdReused));
}

TEST_F(TaskRepositoryTest, EachTaskOfABatchHasItsOwnOutcome) {
  ASSERT_THAT(TryCreate(MakeTask(), "there"), IsOk());
  NewTask later = MakeTask("later");
  later.delay = absl::Hours(1);
  const auto outcomes = Await<db::TaskCreator::Outcomes>([&](auto done) {
    creator_.Create({{MakeTask("a"), "", ""},
                     {MakeTask("b"), "there", "other"},
                     {later, "twin", "t"},
                     {later, "twin", "t"},
                     {MakeTask("c"), "twin", "other"},
                     {MakeTask(), "there", "f"}},
                    Deadline(), std::move(done));
  });
  ASSERT_THAT(outcomes, SizeIs(6));
  ASSERT_THAT(outcomes[0], IsOk());
  EXPECT_EQ(tasks_.GetTask(outcomes[0]->id, Deadline())->queue, "a");
  const auto reused =
      StatusIs(absl::StatusCode::kAlreadyExists, std::string(reason::kRequestIdReused));
  EXPECT_THAT(outcomes[1], reused);
  ASSERT_THAT(outcomes[2], IsOk());
  EXPECT_TRUE(outcomes[2]->is_new);
  EXPECT_EQ(outcomes[2]->run_time - outcomes[2]->create_time, absl::Hours(1));
  ASSERT_THAT(outcomes[3], IsOk());
  EXPECT_FALSE(outcomes[3]->is_new);
  EXPECT_EQ(outcomes[3]->id, outcomes[2]->id);
  EXPECT_THAT(outcomes[4], reused);
  ASSERT_THAT(outcomes[5], IsOk());
  EXPECT_FALSE(outcomes[5]->is_new);
  EXPECT_EQ(database_.Sql("SELECT string_agg(queue, ' ' ORDER BY queue) FROM tasks"), "a later q");
}

TEST_F(TaskRepositoryTest, ThousandsOfCallersShareCommitsAndNoneIsMixedUp) {
  RunThreads(20, [&](int thread) {
    for (int i = 0; i < 50; ++i) {
      NewTask task = MakeTask(absl::StrCat("q", thread));
      task.payload = absl::StrCat(thread, "-", i);
      const auto created = TryCreate(task, i % 2 == 0 ? "" : absl::StrCat(thread, "/", i));
      ASSERT_THAT(created, IsOk());
      ASSERT_EQ(tasks_.GetTask(created->id, Deadline())->payload, task.payload);
    }
  });
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM tasks"), "1000");
  EXPECT_LT(std::stoi(database_.Sql("SELECT count(DISTINCT xmin::text) FROM tasks")), 1000);
}

TEST_F(TaskRepositoryTest, DoesNotFindWhatIsNotThere) {
  EXPECT_THAT(tasks_.GetTask(1, Deadline()), StatusIs(kNotFound, reason::kTaskNotFound));
  EXPECT_THAT(tasks_.CancelTask(1, Deadline()), StatusIs(kNotFound, reason::kTaskNotFound));
  const LeaseKey key{1, kNoToken};
  EXPECT_THAT(Ack(key), StatusIs(kNotFound, reason::kTaskNotFound));
  EXPECT_THAT(tasks_.ExtendLease(key, absl::Seconds(1), Deadline()),
              StatusIs(kNotFound, reason::kTaskNotFound));
  EXPECT_THAT(tasks_.EndAttempt({.lease = key}, Deadline()),
              StatusIs(kNotFound, reason::kTaskNotFound));
}

TEST_F(TaskRepositoryTest, CancelsWhatNoWorkerHas) {
  const Task task = Create(MakeTask());
  const auto cancelled = tasks_.CancelTask(task.id, Deadline());
  ASSERT_THAT(cancelled, IsOk());
  EXPECT_EQ(cancelled->state, TaskState::kCancelled);
  EXPECT_THAT(tasks_.CancelTask(task.id, Deadline()), IsOk());
  EXPECT_THAT(Claim({"q"}).tasks, IsEmpty());
}

TEST_F(TaskRepositoryTest, ACancelledTaskThatAWorkerHasIsNotTriedAgain) {
  using End = AttemptEnd;
  const auto cancel_held = [&] {
    const Task task = Create(MakeTask());
    const Claimed claimed = Claim({"q"});
    EXPECT_THAT(claimed.tasks, SizeIs(1));
    for (int i = 0; i < 2; ++i) {
      const auto asked = tasks_.CancelTask(task.id, Deadline());
      EXPECT_THAT(asked, IsOk());
      EXPECT_EQ(asked->state, TaskState::kRunning);
      EXPECT_TRUE(asked->cancel_requested);
    }
    return LeaseKey{task.id, claimed.token};
  };
  for (const End::Kind kind :
       {End::Kind::kFailed, End::Kind::kFailedForGood, End::Kind::kReleased}) {
    const auto ended =
        tasks_.EndAttempt({.lease = cancel_held(), .kind = kind, .error = "stopped"}, Deadline());
    ASSERT_THAT(ended, IsOk());
    EXPECT_EQ(ended->state, TaskState::kCancelled);
    EXPECT_THAT(ended->errors, SizeIs(kind == End::Kind::kReleased ? 0 : 1));
  }
  const LeaseKey gone = cancel_held();
  ExpireLeases();
  ASSERT_THAT(tasks_.RescueExpired(10, Deadline()), IsOkAndHolds(SizeIs(1)));
  EXPECT_EQ(tasks_.GetTask(gone.task_id, Deadline())->state, TaskState::kCancelled);
  // What is done is done.
  const LeaseKey done = cancel_held();
  ASSERT_THAT(Ack(done), IsOk());
  EXPECT_THAT(tasks_.CancelTask(done.task_id, Deadline()),
              StatusIs(absl::StatusCode::kFailedPrecondition, reason::kTaskEnded));
}

TEST_F(TaskRepositoryTest, APendingTaskGetsAnotherTime) {
  NewTask later = MakeTask();
  later.delay = absl::Hours(1);
  later.local_time = LocalTime{"2031-01-01T00:00:00", "UTC", GapPolicy::kShift, FoldPolicy::kFirst,
                               LocalTimeResolution::kUnique};
  const Task task = Create(later);
  const auto moved = tasks_.RescheduleTask(task.id, {.delay = absl::Hours(2)}, Deadline());
  ASSERT_THAT(moved, IsOk());
  EXPECT_EQ(moved->run_time - moved->update_time, absl::Hours(2));
  EXPECT_FALSE(moved->options.local_time);
  ASSERT_THAT(tasks_.RescheduleTask(task.id, {}, Deadline()), IsOk());
  EXPECT_THAT(Ids(Claim({"q"}).tasks), ElementsAre(task.id));
  EXPECT_THAT(tasks_.RescheduleTask(task.id, {}, Deadline()),
              StatusIs(absl::StatusCode::kFailedPrecondition, reason::kTaskNotPending));
  EXPECT_THAT(tasks_.RescheduleTask(99, {}, Deadline()),
              StatusIs(kNotFound, reason::kTaskNotFound));
}

TEST_F(TaskRepositoryTest, ATaskThatNobodyHasBegunInTimeExpires) {
  NewTask task = MakeTask();
  task.expire_time = absl::Now() + absl::Hours(1);
  const Task waiting = Create(task);
  const Task held = Create(MakeTask());
  Claim({"q"});  // the first
  EXPECT_THAT(tasks_.ExpireTasks(10, Deadline()), IsOkAndHolds(0));
  task.expire_time = absl::Now() - absl::Hours(1);
  const Task late = Create(task);
  database_.Sql("UPDATE tasks SET expires_at = now() - interval '1 s' WHERE state = 'running'");
  EXPECT_THAT(Ids(Claim({"q"}, 10).tasks), ElementsAre(held.id));
  EXPECT_THAT(tasks_.ExpireTasks(10, Deadline()), IsOkAndHolds(1));
  EXPECT_EQ(tasks_.GetTask(late.id, Deadline())->state, TaskState::kExpired);
  EXPECT_EQ(tasks_.GetTask(waiting.id, Deadline())->state, TaskState::kRunning);
}

TEST_F(TaskRepositoryTest, ADeadTaskIsDrivenAgainWithAllItsAttempts) {
  using End = AttemptEnd;
  const auto kill = [&] {
    const Task task = Create(MakeTask());
    const Claimed claimed = Claim({"q"});
    const auto dead = tasks_.EndAttempt(
        {.lease = {task.id, claimed.token}, .kind = End::Kind::kFailedForGood, .error = "broken"},
        Deadline());
    EXPECT_THAT(dead, IsOk());
    EXPECT_EQ(dead->state, TaskState::kDead);
    return task.id;
  };
  const std::int64_t one = kill();
  const auto driven = tasks_.RedriveTask(one, Deadline());
  ASSERT_THAT(driven, IsOk());
  EXPECT_EQ(driven->state, TaskState::kPending);
  EXPECT_EQ(driven->attempt, 0);
  ASSERT_THAT(driven->errors, SizeIs(1));
  EXPECT_EQ(driven->errors[0].attempt, 1);
  EXPECT_EQ(driven->errors[0].text, "broken");
  EXPECT_THAT(tasks_.RedriveTask(one, Deadline()), IsOk());  // it is pending
  EXPECT_THAT(Ids(Claim({"q"}).tasks), ElementsAre(one));
  EXPECT_THAT(tasks_.RedriveTask(one, Deadline()),
              StatusIs(absl::StatusCode::kFailedPrecondition, reason::kTaskNotDead));
  EXPECT_THAT(tasks_.RedriveTask(99, Deadline()), StatusIs(kNotFound, reason::kTaskNotFound));

  const std::vector<std::int64_t> dead = {kill(), kill(), kill()};
  EXPECT_THAT(tasks_.RedriveTasks("other", 10, Deadline()), IsOkAndHolds(0));
  EXPECT_THAT(tasks_.RedriveTasks("q", 2, Deadline()), IsOkAndHolds(2));
  EXPECT_THAT(Ids(Claim({"q"}, 10).tasks), ElementsAre(dead[0], dead[1]));
  EXPECT_THAT(tasks_.RedriveTasks("q", 2, Deadline()), IsOkAndHolds(1));
}

TEST_F(TaskRepositoryTest, DropsWhatHasBeenDeadForTooLongTheFirstFirst) {
  database_.Sql(
      "INSERT INTO dead_tasks (id, died_at, queue, name, payload, headers, run_at, priority, "
      "                        attempt, max_attempts, errors, created_at) "
      "SELECT i, now() - (10 - i) * interval '1 day' - interval '1 h', 'q' || i % 2, 'n', '', "
      "       '{}', now(), 0, 3, 3, '[]', now() FROM generate_series(1, 9) AS i;"
      "INSERT INTO queue_counters (queue, backend, dead) VALUES ('q0', 0, 4), ('q1', 0, 5)");
  const auto left = [&] {
    return database_.Sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM dead_tasks");
  };
  EXPECT_THAT(tasks_.DropDead(3, 5, Deadline()), IsOkAndHolds(5));
  EXPECT_EQ(left(), "6 7 8 9");
  for (const int dropped : {2, 0}) {
    EXPECT_THAT(tasks_.DropDead(3, 5, Deadline()), IsOkAndHolds(dropped));
    EXPECT_EQ(left(), "8 9");
  }
  EXPECT_EQ(
      database_.Sql("SELECT string_agg(queue || ' ' || dead, ', ' ORDER BY queue) FROM "
                    "(SELECT queue, sum(dead) AS dead FROM queue_counters GROUP BY queue) AS c"),
      "q0 1, q1 1");
}

TEST_F(TaskRepositoryTest, TheHistoryHasRoomAheadAndForgetsItsOldestDays) {
  const auto partitions = [&] {
    return std::stoi(database_.Sql(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'task_history'::regclass"));
  };
  const int before = partitions();
  ASSERT_THAT(tasks_.ExtendHistory(9, Deadline()), IsOk());
  ASSERT_THAT(tasks_.ExtendHistory(9, Deadline()), IsOk());
  EXPECT_EQ(partitions(), before + 2);
  database_.Sql("SELECT extend_task_history(current_date - 5, current_date)");
  const Task task = Create(MakeTask());
  ASSERT_THAT(tasks_.CancelTask(task.id, Deadline()), IsOk());
  database_.Sql("UPDATE task_history SET finished_at = finished_at - interval '4 days'");
  EXPECT_THAT(tasks_.DropHistory(6, Deadline()), IsOkAndHolds(false));
  EXPECT_THAT(tasks_.DropHistory(4, Deadline()), IsOkAndHolds(true));
  EXPECT_THAT(tasks_.DropHistory(4, Deadline()), IsOkAndHolds(false));
  EXPECT_THAT(tasks_.GetTask(task.id, Deadline()), IsOk());
  EXPECT_THAT(tasks_.DropHistory(3, Deadline()), IsOkAndHolds(true));
  EXPECT_THAT(tasks_.GetTask(task.id, Deadline()), StatusIs(kNotFound, reason::kTaskNotFound));
}

TEST_F(TaskRepositoryTest, ManyProcessesMayTendTheHistoryAtOnce) {
  const char* const count =
      "SELECT count(*) FROM pg_inherits WHERE inhparent = 'task_history'::regclass";
  const int before = std::stoi(database_.Sql(count));
  RunThreads(6, [&](int /*thread*/) { EXPECT_THAT(tasks_.ExtendHistory(17, Deadline()), IsOk()); });
  EXPECT_EQ(std::stoi(database_.Sql(count)), before + 10);
}

TEST_F(TaskRepositoryTest, AnswersUntilTheDeadlineOnly) {
  EXPECT_THAT(tasks_.GetTask(1, absl::Now() - absl::Seconds(1)),
              StatusIs(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded));
}

}  // namespace
}  // namespace parley::testing
