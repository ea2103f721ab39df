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
#include "tests/support/status_matchers.h"

namespace parley::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr absl::StatusCode kAborted = absl::StatusCode::kAborted;
constexpr absl::StatusCode kNotFound = absl::StatusCode::kNotFound;
constexpr char kNoToken[] = "ffffffffffffffffffffffffffffffff";

absl::Duration NoDelay(std::int32_t /*attempt*/) { return absl::ZeroDuration(); }

TEST_F(TaskRepositoryTest, KeepsEverythingThatATaskWasCreatedWith) {
  NewTask task = MakeTask();
  task.payload = std::string("\0\xff'\\ \n", 6);
  task.headers = {{"a \"b\"", "c\\d :x 'e'"}, {"\xc3\xa4", ""}};
  task.run_time = absl::FromUnixMicros(253402300799999999);  // the last of year 9999
  task.priority = 9;
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
    EXPECT_EQ(got.last_error, "");
    ASSERT_TRUE(got.local_time);
    EXPECT_EQ(got.local_time->date_time, "9999-12-31T23:59:59.999999");
    EXPECT_EQ(got.local_time->gap_policy, GapPolicy::kReject);
    EXPECT_EQ(got.local_time->fold_policy, FoldPolicy::kSecond);
    EXPECT_EQ(got.local_time->resolution, LocalTimeResolution::kAmbiguous);
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
  std::vector<std::thread> threads;
  std::vector<std::int64_t> ids(8);
  for (std::int64_t& id : ids) {
    threads.emplace_back([this, &id] {
      const auto task = tasks_.CreateTask(MakeTask(), Request("once"), Deadline());
      if (task.ok()) id = task->id;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(std::set<std::int64_t>(ids.begin(), ids.end()), SizeIs(1));
  EXPECT_GT(ids.front(), 0);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM tasks"), "1");
}

TEST_F(TaskRepositoryTest, ARepeatedRequestReturnsTheTaskAsItIsNow) {
  const auto first = tasks_.CreateTask(MakeTask(), Request("r"), Deadline());
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(tasks_.CancelTask(first->id, Deadline()), IsOk());
  const auto second = tasks_.CreateTask(MakeTask(), Request("r"), Deadline());
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(second->id, first->id);
  EXPECT_EQ(second->state, TaskState::kCancelled);
  EXPECT_THAT(tasks_.CreateTask(MakeTask(), Request("r", "other"), Deadline()),
              StatusIs(absl::StatusCode::kAlreadyExists, reason::kRequestIdReused));
}

TEST_F(TaskRepositoryTest, DoesNotFindWhatIsNotThere) {
  EXPECT_THAT(tasks_.GetTask(1, Deadline()), StatusIs(kNotFound, reason::kTaskNotFound));
  EXPECT_THAT(tasks_.CancelTask(1, Deadline()), StatusIs(kNotFound, reason::kTaskNotFound));
  const db::TaskRepository::LeaseKey key{1, kNoToken};
  EXPECT_THAT(tasks_.AckTask(key, Deadline()), StatusIs(kNotFound, reason::kTaskNotFound));
  EXPECT_THAT(tasks_.ExtendLease(key, absl::Seconds(1), Deadline()),
              StatusIs(kNotFound, reason::kTaskNotFound));
  EXPECT_THAT(tasks_.FailTask({key, "", NoDelay}, Deadline()),
              StatusIs(kNotFound, reason::kTaskNotFound));
}

TEST_F(TaskRepositoryTest, ListsTheLatestFirstInPagesThatNeitherSkipNorRepeat) {
  std::vector<std::int64_t> ids;
  for (int i = 0; i < 5; ++i) ids.insert(ids.begin(), Create(MakeTask()).id);
  db::TaskRepository::ListParams params;
  params.page.limit = 2;
  std::vector<std::int64_t> seen;
  do {
    const auto page = tasks_.ListTasks(params, Deadline());
    ASSERT_THAT(page, IsOk());
    for (const Task& task : page->rows) seen.push_back(task.id);
    params.page.after = page->next;
    Create(MakeTask());  // later tasks come before the first page
  } while (params.page.after);
  EXPECT_THAT(seen, ElementsAreArray(ids));
}

TEST_F(TaskRepositoryTest, ListsByQueueAndStateAndOffset) {
  const Task a1 = Create(MakeTask("a"));
  const Task b = Create(MakeTask("b"));
  const Task a2 = Create(MakeTask("a"));
  ASSERT_THAT(tasks_.CancelTask(a1.id, Deadline()), IsOk());
  const auto list = [&](const std::string& queue, std::optional<TaskState> state,
                        std::int64_t offset = 0) {
    db::TaskRepository::ListParams params;
    params.queue = queue;
    params.state = state;
    params.page.offset = offset;
    const auto page = tasks_.ListTasks(params, Deadline());
    EXPECT_THAT(page, IsOk());
    return page.ok() ? Ids(page->rows) : std::vector<std::int64_t>();
  };
  EXPECT_THAT(list("", std::nullopt), ElementsAre(a2.id, b.id, a1.id));
  EXPECT_THAT(list("", std::nullopt, 1), ElementsAre(b.id, a1.id));
  EXPECT_THAT(list("", std::nullopt, 3), IsEmpty());
  EXPECT_THAT(list("a", std::nullopt), ElementsAre(a2.id, a1.id));
  EXPECT_THAT(list("", TaskState::kPending), ElementsAre(a2.id, b.id));
  EXPECT_THAT(list("a", TaskState::kCancelled), ElementsAre(a1.id));
  EXPECT_THAT(list("c", std::nullopt), IsEmpty());
}

TEST_F(TaskRepositoryTest, CutsAPageThatWouldWeighTooMuch) {
  NewTask heavy = MakeTask();
  heavy.payload.assign(1 << 20, 'x');
  for (int i = 0; i < 4; ++i) Create(heavy);
  db::TaskRepository::ListParams params;
  std::vector<std::size_t> sizes;
  do {
    const auto page = tasks_.ListTasks(params, Deadline());
    ASSERT_THAT(page, IsOk());
    sizes.push_back(page->rows.size());
    params.page.after = page->next;
  } while (params.page.after);
  EXPECT_THAT(sizes, ElementsAre(2, 2));
  EXPECT_THAT(Claim({"q"}, 100).tasks, SizeIs(2));
}

TEST_F(TaskRepositoryTest, CancelsWhatNoWorkerHas) {
  const Task task = Create(MakeTask());
  const auto cancelled = tasks_.CancelTask(task.id, Deadline());
  ASSERT_THAT(cancelled, IsOk());
  EXPECT_EQ(cancelled->state, TaskState::kCancelled);
  EXPECT_THAT(tasks_.CancelTask(task.id, Deadline()), IsOk());
  EXPECT_THAT(Claim({"q"}).tasks, IsEmpty());

  const Task held = Create(MakeTask());
  const Claimed claimed = Claim({"q"});
  const auto refused =
      StatusIs(absl::StatusCode::kFailedPrecondition, std::string(reason::kTaskNotPending));
  EXPECT_THAT(tasks_.CancelTask(held.id, Deadline()), refused);
  ASSERT_THAT(tasks_.AckTask({held.id, claimed.token}, Deadline()), IsOk());
  EXPECT_THAT(tasks_.CancelTask(held.id, Deadline()), refused);
}

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
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([this, &taken, i] {
      for (int n = 0; taken < kTasks; ++n) {
        const std::string token = absl::StrFormat("%016x%016x", i, n);
        const auto tasks = tasks_.ClaimTasks({{"q"}, 7, absl::Minutes(1), token}, Deadline());
        ASSERT_THAT(tasks, IsOk());
        taken += static_cast<std::int64_t>(tasks->size());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(taken, kTasks);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM tasks WHERE state = 'running' AND attempt = 1"),
            absl::StrCat(kTasks));
}

TEST_F(TaskRepositoryTest, AnAckedTaskIsDoneAndTheSameAckIsAnsweredAgain) {
  const Task task = Create(MakeTask());
  const Claimed claimed = Claim({"q"});
  for (int i = 0; i < 2; ++i) {
    const auto acked = tasks_.AckTask({task.id, claimed.token}, Deadline());
    ASSERT_THAT(acked, IsOk());
    EXPECT_EQ(acked->state, TaskState::kSucceeded);
    EXPECT_FALSE(acked->lease_until);
  }
  EXPECT_THAT(tasks_.AckTask({task.id, kNoToken}, Deadline()),
              StatusIs(kAborted, reason::kLeaseLost));
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
    const db::TaskRepository::LeaseKey key{task.id, old.token};
    const std::string before = database_.Sql("SELECT t::text FROM tasks AS t");
    const auto lost = StatusIs(kAborted, std::string(reason::kLeaseLost));
    EXPECT_THAT(tasks_.AckTask(key, Deadline()), lost);
    EXPECT_THAT(tasks_.FailTask({key, "late", NoDelay}, Deadline()), lost);
    EXPECT_THAT(tasks_.ExtendLease(key, absl::Hours(1), Deadline()), lost);
    EXPECT_THAT(tasks_.ReleaseTasks({task.id}, old.token, Deadline()), IsOk());
    EXPECT_EQ(database_.Sql("SELECT t::text FROM tasks AS t"), before);
  };
  refuses_all();  // nobody has it
  const Claimed current = Claim({"q"});
  ASSERT_THAT(current.tasks, SizeIs(1));
  refuses_all();  // somebody else has it
  EXPECT_THAT(tasks_.AckTask({task.id, current.token}, Deadline()), IsOk());
}

TEST_F(TaskRepositoryTest, ALeaseThatNobodyHasRescuedYetStillCounts) {
  const Task task = Create(MakeTask());
  const Claimed claimed = Claim({"q"});
  ExpireLeases();
  EXPECT_THAT(tasks_.AckTask({task.id, claimed.token}, Deadline()), IsOk());
}

TEST_F(TaskRepositoryTest, AFailedTaskIsDueAgainAfterItsRetryDelay) {
  const Task task = Create(MakeTask());
  const Claimed claimed = Claim({"q"});
  std::int32_t asked_for = 0;
  const auto failed = tasks_.FailTask({{task.id, claimed.token},
                                       "no luck",
                                       [&](std::int32_t attempt) {
                                         asked_for = attempt;
                                         return absl::Hours(1);
                                       }},
                                      Deadline());
  ASSERT_THAT(failed, IsOk());
  EXPECT_EQ(asked_for, 1);
  EXPECT_EQ(failed->state, TaskState::kPending);
  EXPECT_EQ(failed->attempt, 1);
  EXPECT_EQ(failed->last_error, "no luck");
  EXPECT_EQ(failed->run_time - failed->update_time, absl::Hours(1));
  EXPECT_FALSE(failed->lease_until);
  EXPECT_THAT(Claim({"q"}).tasks, IsEmpty());
}

TEST_F(TaskRepositoryTest, ATaskIsDeadAfterItsLastAttempt) {
  NewTask twice = MakeTask();
  twice.max_attempts = 2;
  const Task task = Create(twice);
  for (const TaskState expected : {TaskState::kPending, TaskState::kDead}) {
    const Claimed claimed = Claim({"q"});
    ASSERT_THAT(claimed.tasks, SizeIs(1));
    const auto failed = tasks_.FailTask({{task.id, claimed.token}, "no", NoDelay}, Deadline());
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
  ASSERT_THAT(tasks_.ReleaseTasks({task.id}, claimed.token, Deadline()), IsOk());
  const auto released = tasks_.GetTask(task.id, Deadline());
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
  EXPECT_EQ(second.tasks.front().last_error, "the lease ran out");
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
  const auto next = tasks_.FindNextDue({"later", "now", "taken", "none"}, Deadline());
  ASSERT_THAT(next, IsOkAndHolds(SizeIs(2)));
  for (const auto& queue : *next) {
    if (queue.queue == "now") {
      EXPECT_LE(queue.due_in, absl::ZeroDuration());
    } else {
      EXPECT_EQ(queue.queue, "later");
      EXPECT_LE(queue.due_in, absl::Hours(1));
      EXPECT_GT(queue.due_in, absl::Minutes(59));
    }
  }
}

TEST_F(TaskRepositoryTest, AnswersUntilTheDeadlineOnly) {
  EXPECT_THAT(tasks_.GetTask(1, absl::Now() - absl::Seconds(1)),
              StatusIs(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded));
}

}  // namespace
}  // namespace parley::testing
