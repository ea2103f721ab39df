#include "services/jobs/worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "db/core/transaction.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::jobs {
namespace {

using parley::testing::IsOk;
using parley::testing::StatusIs;
using parley::testing::TempDatabase;
using ::testing::SizeIs;

constexpr char kQueue[] = "parley.test";

absl::Time Soon() { return absl::Now() + absl::Seconds(30); }

class Workers : public ::testing::Test {
 protected:
  Task Create(absl::Duration delay = absl::ZeroDuration(), std::int32_t max_attempts = 5) {
    NewTask task;
    task.queue = kQueue;
    task.name = "work";
    task.delay = delay;
    task.max_attempts = max_attempts;
    return db::RunTransaction(database_.pool(), Soon(), db::OnLostCommit::kInDoubt,
                              [&](db::Session& session) {
                                return db::TaskRepository::CreateInTransaction(session, task);
                              })
        .value();
  }

  // Ends a task as a handler does, in a transaction of its own.
  absl::Status Ack(const Job& job) {
    return db::RunTransaction(database_.pool(), Soon(), db::OnLostCommit::kSafeToRetry,
                              [&](db::Session& session) -> absl::StatusOr<bool> {
                                const absl::Status acked =
                                    db::TaskRepository::AckInTransaction(session, job.lease);
                                if (!acked.ok()) return acked;
                                return true;
                              })
        .status();
  }

  // Notes the task as seen, and ends it.
  Outcome See(const Job& job) {
    EXPECT_THAT(Ack(job), IsOk());
    MutexLock lock(mutex_);
    seen_.push_back({job.task.id, absl::Now() - job.task.run_time});
    changed_.NotifyAll();
    return {};
  }

  void WaitUntilSeen(std::size_t count) {
    MutexLock lock(mutex_);
    const absl::Time deadline = Soon();
    while (seen_.size() < count && absl::Now() < deadline) changed_.WaitUntil(mutex_, deadline);
    ASSERT_THAT(seen_, SizeIs(count));
  }

  TaskState StateOf(std::int64_t id) { return tasks_.GetTask(id, Soon())->state; }

  bool Becomes(std::int64_t id, TaskState state) {
    for (const absl::Time deadline = Soon(); absl::Now() < deadline;) {
      if (StateOf(id) == state) return true;
      absl::SleepFor(absl::Milliseconds(5));
    }
    return false;
  }

  struct Seen {
    std::int64_t id;
    absl::Duration late;
  };
  TempDatabase database_;
  db::TaskRepository tasks_{database_.pool()};
  Mutex mutex_;
  CondVar changed_;
  std::vector<Seen> seen_ ABSL_GUARDED_BY(mutex_);
};

TEST_F(Workers, BeginWithinMillisecondsOfATasksTime) {
  Worker worker(tasks_, database_.dsn(), {.queue = kQueue, .threads = 2},
                [this](const Job& job) { return See(job); });
  for (int i = 1; i <= 5; ++i) Create(absl::Milliseconds(170) * i);
  worker.Hint();
  WaitUntilSeen(5);
  MutexLock lock(mutex_);
  absl::Duration least = absl::InfiniteDuration();
  for (const Seen& seen : seen_) {
    EXPECT_GE(seen.late, absl::ZeroDuration());
    least = std::min(least, seen.late);
  }
  EXPECT_LT(least, absl::Milliseconds(100));  // the least, because the machine may be busy
}

TEST_F(Workers, ShareAQueueAndEndEachTaskOnce) {
  constexpr int kTasks = 200;
  for (int i = 0; i < kTasks; ++i) Create();
  const auto handler = [this](const Job& job) { return See(job); };
  Worker one(tasks_, database_.dsn(), {.queue = kQueue, .threads = 3}, handler);
  Worker two(tasks_, database_.dsn(), {.queue = kQueue, .threads = 3}, handler);
  WaitUntilSeen(kTasks);
  MutexLock lock(mutex_);
  std::set<std::int64_t> ids;
  for (const Seen& seen : seen_) ids.insert(seen.id);
  EXPECT_THAT(ids, SizeIs(kTasks));
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM task_history WHERE state = 'succeeded'"), "200");
}

TEST_F(Workers, TryAgainWhatFailedAndKeepTheError) {
  const Task task = Create(absl::ZeroDuration(), 2);
  std::atomic<int> attempts{0};
  Worker worker(tasks_, database_.dsn(), {.queue = kQueue}, [&](const Job& /*job*/) {
    ++attempts;
    return Outcome{Outcome::Kind::kRetry, "CONTENTION"};
  });
  ASSERT_TRUE(Becomes(task.id, TaskState::kDead));  // after its second attempt, a second later
  EXPECT_EQ(attempts, 2);
  EXPECT_EQ(tasks_.GetTask(task.id, Soon())->errors.back().text, "CONTENTION");
}

TEST_F(Workers, GiveUpATaskAtOnceInTheHandlersTransaction) {
  const Task task = Create();
  Worker worker(tasks_, database_.dsn(), {.queue = kQueue}, [&](const Job& job) {
    EXPECT_THAT(db::RunTransaction(database_.pool(), Soon(), db::OnLostCommit::kSafeToRetry,
                                   [&](db::Session& session) -> absl::StatusOr<bool> {
                                     const absl::Status given_up =
                                         db::TaskRepository::GiveUpInTransaction(session, job.lease,
                                                                                 "NOT_A_MEMBER");
                                     if (!given_up.ok()) return given_up;
                                     return true;
                                   }),
                IsOk());
    return Outcome{};
  });
  ASSERT_TRUE(Becomes(task.id, TaskState::kDead));
  EXPECT_EQ(tasks_.GetTask(task.id, Soon())->attempt, 1);
  EXPECT_EQ(tasks_.GetTask(task.id, Soon())->errors.back().text, "NOT_A_MEMBER");
}

TEST_F(Workers, KeepTheLeaseOfLongWork) {
  const Task task = Create();
  std::atomic<int> begun{0};
  const auto handler = [&](const Job& job) {
    ++begun;
    absl::SleepFor(absl::Seconds(4));
    return See(job);
  };
  const Worker::Options options{.queue = kQueue, .lease = absl::Milliseconds(2500)};
  Worker one(tasks_, database_.dsn(), options, handler);
  Worker two(tasks_, database_.dsn(), options, handler);
  WaitUntilSeen(1);
  EXPECT_EQ(begun, 1);
  EXPECT_EQ(StateOf(task.id), TaskState::kSucceeded);
}

TEST_F(Workers, TakeBackWhatAWorkerThatIsGoneHad) {
  const Task task = Create();
  db::TaskClaimer claimer(database_.dsn());
  ASSERT_THAT(claimer.Claim({.queues = {kQueue},
                             .max_tasks = 1,
                             .lease_duration = absl::Milliseconds(100),
                             .token = std::string(32, 'a')},
                            Soon()),
              IsOk());
  Worker worker(tasks_, database_.dsn(), {.queue = kQueue},
                [this](const Job& job) { return See(job); });
  WaitUntilSeen(1);
  EXPECT_EQ(StateOf(task.id), TaskState::kSucceeded);
  EXPECT_THAT(tasks_.AckTask({task.id, std::string(32, 'a')}, Soon()),
              StatusIs(absl::StatusCode::kAborted, reason::kLeaseLost));
}

TEST_F(Workers, ReleaseWhatTheyAreDoingWhenTheyDrain) {
  const Task task = Create();
  std::atomic<bool> begun{false};
  {
    Worker worker(tasks_, database_.dsn(), {.queue = kQueue}, [&](const Job& job) {
      begun = true;
      while (!job.stopping()) absl::SleepFor(absl::Milliseconds(1));
      return Outcome{Outcome::Kind::kReleased, ""};
    });
    while (!begun) absl::SleepFor(absl::Milliseconds(1));
    worker.Drain();
    worker.Drain();  // again is harmless
  }
  const auto released = tasks_.GetTask(task.id, Soon());
  EXPECT_EQ(released->state, TaskState::kPending);
  EXPECT_EQ(released->attempt, 0);
}

TEST_F(Workers, GoOnAfterTheDatabaseWasAway) {
  db::SessionPool away(database_.dsn().With("port", "1"), {.size = 3});
  db::TaskRepository no_tasks(away);
  {  // one that never sees a database ends all the same
    Worker worker(no_tasks, database_.dsn().With("port", "1"), {.queue = kQueue},
                  [this](const Job& job) { return See(job); });
  }
  Worker worker(tasks_, database_.dsn(), {.queue = kQueue},
                [this](const Job& job) { return See(job); });
  database_.Sql(
      "SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity "
      "WHERE datname = current_database() AND pid <> pg_backend_pid()");
  Create();
  WaitUntilSeen(1);
}

}  // namespace
}  // namespace parley::jobs
