#include "services/scheduler/dispatcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "db/repository/task_creator.h"
#include "db/repository/task_repository.h"
#include "services/scheduler/push/lease_inbox.h"
#include "tests/service/parked.h"
#include "tests/support/await.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::testing {
namespace {

using scheduler::LeaseDemand;
using scheduler::LeasedTasks;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class DispatcherTest : public ::testing::Test {
 protected:
  using Answer = std::future<absl::StatusOr<LeasedTasks>>;

  // Demands a task of queue q for a caller that `alive` speaks for.
  Answer Demand(
      absl::Duration wait, std::function<absl::Status()> alive = [] { return absl::OkStatus(); }) {
    auto promise = std::make_shared<std::promise<absl::StatusOr<LeasedTasks>>>();
    LeaseDemand demand;
    demand.queues = {"q"};
    demand.lease_duration = absl::Seconds(30);
    demand.give_up = absl::Now() + wait;
    demand.check_alive = std::move(alive);
    demand.done = [promise](absl::StatusOr<LeasedTasks> leased) {
      promise->set_value(std::move(leased));
    };
    Answer answer = promise->get_future();
    dispatcher_.Lease(std::move(demand));
    return answer;
  }

  // Keeps everybody out of the database, or lets them in again.
  void SetOutage(bool out) {
    RunSql(ClusterDsn(),
           absl::StrCat("ALTER DATABASE ", name_, " ALLOW_CONNECTIONS ", out ? "false" : "true"));
    if (!out) return;
    RunSql(ClusterDsn(), absl::StrCat("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                                      "WHERE datname = '",
                                      name_, "'"));
  }

  Task Create() {
    NewTask task;
    task.queue = "q";
    task.name = "work";
    task.max_attempts = 1;
    const auto outcomes = Await<db::TaskCreator::Outcomes>([&](auto done) {
      creator_.Create({{task, "", ""}}, absl::Now() + absl::Seconds(20), std::move(done));
    });
    EXPECT_THAT(outcomes.front(), IsOk());
    return tasks_.GetTask(outcomes.front()->id, absl::Now() + absl::Seconds(20)).value();
  }

  TempDatabase database_;
  const std::string name_ = database_.Sql("SELECT current_database()");
  db::TaskRepository tasks_{database_.pool()};
  db::TaskCreator creator_{database_.dsn(), {}};
  scheduler::Dispatcher dispatcher_{tasks_, db::TaskClaimer(database_.dsn())};
};

TEST_F(DispatcherTest, GivesTasksBackIfTheCallerLeftDuringTheClaim) {
  const Task task = Create();
  int asked = 0;
  auto answer = Demand(absl::Minutes(1), [&asked] {
    return ++asked == 1 ? absl::OkStatus() : absl::CancelledError("gone");
  });
  EXPECT_EQ(answer.get().status().code(), absl::StatusCode::kCancelled);
  const auto released = tasks_.GetTask(task.id, absl::Now() + absl::Seconds(5));
  ASSERT_THAT(released, IsOk());
  EXPECT_EQ(released->state, TaskState::kPending);
  EXPECT_EQ(released->attempt, 0);
}

TEST_F(DispatcherTest, AsksForNothingForACallerWhoHasLeft) {
  Create();
  auto answer = Demand(absl::Minutes(1), [] { return absl::CancelledError("gone"); });
  EXPECT_EQ(answer.get().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(database_.Sql("SELECT max(attempt) FROM tasks"), "0");
}

TEST_F(DispatcherTest, ADrainAnswersAllWhoWaitAndAllToComeWithNothing) {
  auto waiting = Demand(absl::Minutes(1));
  dispatcher_.Drain();
  Create();
  auto late = Demand(absl::Minutes(1));
  for (Answer* answer : {&waiting, &late}) {
    const auto nothing = answer->get();
    ASSERT_THAT(nothing, IsOk());
    EXPECT_THAT(nothing->tasks, IsEmpty());
    EXPECT_TRUE(nothing->draining);
  }
}

TEST_F(DispatcherTest, WhoHasWaitedLongEnoughIsNotToldOfADrain) {
  const auto nothing = Demand(absl::ZeroDuration()).get();
  ASSERT_THAT(nothing, IsOk());
  EXPECT_THAT(nothing->tasks, IsEmpty());
  EXPECT_FALSE(nothing->draining);
}

TEST_F(DispatcherTest, APusherThatWantsTasksAgainBeforeItIsAnsweredGetsThem) {
  scheduler::LeaseInbox inbox(dispatcher_, {.queue = "q", .lease_duration = absl::Seconds(30)});
  // Leaves in the same round as the pusher, and before it. So the pusher wants no tasks when the
  // dispatcher looks at who has left, and wants some when the dispatcher answers.
  std::atomic<bool> leaves = false;
  std::promise<void> left;
  LeaseDemand first;
  first.queues = {"q"};
  first.lease_duration = absl::Seconds(30);
  first.give_up = absl::InfiniteFuture();
  first.check_alive = [&] {
    if (!leaves) return absl::OkStatus();
    inbox.Unask();
    return absl::CancelledError("gone");
  };
  first.done = [&](const absl::StatusOr<LeasedTasks>& /*leased*/) {
    inbox.Ask(1);
    left.set_value();
  };
  const absl::Time since = absl::Now();
  dispatcher_.Lease(std::move(first));
  inbox.Ask(1);
  WaitUntilParked(database_, since);
  leaves = true;
  dispatcher_.Hint("q");
  left.get_future().wait();
  const Task task = Create();
  dispatcher_.TaskReady("q", absl::ZeroDuration());
  std::optional<LeasedTasks> leased;
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (!leased.has_value() && absl::Now() < deadline) {
    inbox.Ask(1);
    leased = inbox.Wait(absl::Now() + absl::Milliseconds(100));
  }
  ASSERT_TRUE(leased.has_value());
  ASSERT_THAT(leased->tasks, SizeIs(1));
  EXPECT_EQ(leased->tasks.front().id, task.id);
}

TEST_F(DispatcherTest, AnEndedWaitIsAnsweredThoughTheDatabaseIsAway) {
  const absl::Time since = absl::Now();
  auto waiting = Demand(absl::Seconds(3));
  WaitUntilParked(database_, since);
  SetOutage(true);
  const auto answer = waiting.get();
  SetOutage(false);
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kUnavailable) << answer.status();
}

TEST_F(DispatcherTest, AWaitOutlivesAnOutageOfTheDatabase) {
  const absl::Time since = absl::Now();
  auto waiting = Demand(absl::Minutes(1));
  WaitUntilParked(database_, since);
  SetOutage(true);
  // Longer than between two looks.
  EXPECT_EQ(waiting.wait_for(std::chrono::milliseconds(1500)), std::future_status::timeout);
  SetOutage(false);
  database_.Sql(
      "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts) "
      "VALUES ('q', 'n', '', now(), 0, 1)");
  const auto answer = waiting.get();
  ASSERT_THAT(answer, IsOk());
  EXPECT_THAT(answer->tasks, SizeIs(1));
}

TEST_F(DispatcherTest, GivesATaskToWhoeverHasWaitedLongest) {
  const absl::Time since = absl::Now();
  auto first = Demand(absl::Minutes(1));
  auto second = Demand(absl::Minutes(1));
  WaitUntilParked(database_, since);
  for (Answer* waiting : {&first, &second}) {
    const Task task = Create();
    dispatcher_.TaskReady("q", absl::ZeroDuration());
    const auto answer = waiting->get();
    ASSERT_THAT(answer, IsOk());
    ASSERT_THAT(answer->tasks, SizeIs(1));
    EXPECT_EQ(answer->tasks.front().id, task.id);
  }
}

TEST_F(DispatcherTest, ALockedTaskIsHandedOutWhenItIsFreeAgain) {
  const Task task = Create();
  SqlConnection other(database_.dsn());
  other.Run("BEGIN");
  other.Run(absl::StrCat("SELECT 1 FROM tasks WHERE id = ", task.id, " FOR UPDATE"));
  const absl::Time since = absl::Now();
  auto waiting = Demand(absl::Minutes(1));
  WaitUntilParked(database_, since);
  other.Run("COMMIT");
  const auto answer = waiting.get();
  ASSERT_THAT(answer, IsOk());
  EXPECT_THAT(answer->tasks, SizeIs(1));
}

}  // namespace
}  // namespace parley::testing
