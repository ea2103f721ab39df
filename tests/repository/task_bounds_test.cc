// Tasks that weigh much, and those whose firings have another task.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "db/repository/queue_repository.h"
#include "tests/repository/schedule_fixture.h"
#include "tests/support/status_matchers.h"

namespace parley::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

class TaskBoundsTest : public TaskRepositoryTest {
 protected:
  // Seven of 1 MiB each, of which three go at a time.
  void MakeHeavy(const std::string& columns = "", const std::string& values = "") {
    database_.Sql(absl::StrCat(
        "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts", columns,
        ") SELECT 'q', 'n', convert_to(repeat('x', 1048576), 'UTF8'), now(), 0, 1", values,
        " FROM generate_series(1, 7)"));
  }

  void MakeDead() {
    MakeHeavy(", state, attempt, lease_until, lease_token",
              ", 'running', 1, now() - interval '1 s', gen_random_uuid()");
    while (!tasks_.RescueExpired(100, Deadline())->empty()) {
    }
  }

  // Steps until one does nothing; returns how much each has done.
  static std::vector<std::int64_t> Steps(const std::function<std::int64_t()>& step) {
    std::vector<std::int64_t> counts;
    while (counts.size() < 20) {
      counts.push_back(step());
      if (counts.back() == 0) break;
    }
    return counts;
  }

  std::string Count(const std::string& what) {
    return database_.Sql(absl::StrCat("SELECT count(*) FROM ", what));
  }
  std::string Counted(const std::string& what) {
    return database_.Sql(absl::StrCat("SELECT sum(", what, ") FROM queue_counters"));
  }

  db::QueueRepository queues_{database_.pool()};
};

TEST_F(TaskBoundsTest, TasksExpireAFewMebibytesAtATime) {
  MakeHeavy(", expires_at", ", now() - interval '1 s'");
  EXPECT_THAT(Steps([&] { return *tasks_.ExpireTasks(100, Deadline()); }), ElementsAre(3, 3, 1, 0));
  EXPECT_EQ(Count("task_history WHERE state = 'expired'"), "7");
  EXPECT_EQ(Counted("expired"), "7");
}

TEST_F(TaskBoundsTest, APurgeGoesAFewMebibytesAtATime) {
  MakeHeavy();
  MakeDead();
  using Step = absl::StatusOr<db::QueueRepository::Purged> (db::QueueRepository::*)(
      const db::QueueRepository::PurgeParams&, absl::Time);
  for (const Step step : {&db::QueueRepository::Purge, &db::QueueRepository::PurgeDead}) {
    db::QueueRepository::PurgeParams params = {.name = "q", .up_to = 1000, .max_tasks = 100};
    EXPECT_THAT(Steps([&] {
                  const auto purged = (queues_.*step)(params, Deadline());
                  params.after = purged->last_id;
                  return purged->count;
                }),
                ElementsAre(3, 3, 1, 0));
  }
  EXPECT_EQ(Count("task_history WHERE state = 'cancelled'"), "7");
  EXPECT_EQ(Count("dead_tasks"), "0");
}

TEST_F(TaskBoundsTest, DeadTasksAreDroppedAFewMebibytesAtATime) {
  MakeDead();
  EXPECT_THAT(Steps([&] { return *tasks_.DropDead(0, 100, Deadline()); }), ElementsAre(3, 3, 1, 0));
  EXPECT_EQ(Counted("dead"), "0");
}

TEST_F(TaskBoundsTest, RescuedTasksDieAFewMebibytesAtATime) {
  const std::string running = ", state, attempt, lease_until, lease_token";
  const std::string lost = ", 'running', 1, now() - interval '1 s', gen_random_uuid()";
  MakeHeavy(running, lost);
  const auto rescue = [&] {
    return static_cast<std::int64_t>(tasks_.RescueExpired(100, Deadline())->size());
  };
  EXPECT_THAT(Steps(rescue), ElementsAre(3, 3, 1, 0));
  EXPECT_EQ(Count("dead_tasks"), "7");
  // Those that stay where they are go together.
  MakeHeavy(running, lost);
  database_.Sql("UPDATE tasks SET max_attempts = 2");
  EXPECT_THAT(Steps(rescue), ElementsAre(7, 0));
  EXPECT_EQ(Count("tasks WHERE state = 'pending'"), "7");
}

TEST_F(TaskBoundsTest, DeadTasksAreDrivenAgainAFewMebibytesAtATime) {
  MakeDead();
  EXPECT_THAT(Steps([&] { return *tasks_.RedriveTasks("q", 100, Deadline()); }),
              ElementsAre(3, 3, 1, 0));
  EXPECT_EQ(Count("tasks WHERE state = 'pending'"), "7");
  EXPECT_EQ(Count("dead_tasks"), "0");
  EXPECT_EQ(Counted("dead"), "0");
}

// Firings that have two tasks: one that is dead, and what a backfill has made meanwhile.
class TakenFiringTest : public ScheduleFiringTest {
 protected:
  // A task of a firing, dead.
  std::int64_t MakeDead() {
    const absl::Time end = Firing(schedule_, 0) - absl::Hours(made_++);
    EXPECT_THAT(schedules_.Backfill(
                    {.id = schedule_.id, .start = end - absl::Hours(1), .end = end, .limit = 1},
                    Deadline()),
                IsOk());
    return Kill();
  }
  // Kills the task that comes first.
  std::int64_t Kill() {
    const Claimed claimed = Claim({"q"});
    EXPECT_THAT(claimed.tasks, SizeIs(1));
    const std::int64_t id = claimed.tasks.at(0).id;
    EXPECT_THAT(
        tasks_.EndAttempt({.lease = {id, claimed.token}, .kind = AttemptEnd::Kind::kFailedForGood},
                          Deadline()),
        IsOk());
    return id;
  }
  // As a backfill does that has not seen that task when it died.
  std::int64_t MakeOther(std::int64_t dead) {
    std::int64_t id = 0;
    EXPECT_TRUE(absl::SimpleAtoi(
        database_.Sql(absl::StrCat(
            "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts, schedule_id, "
            "fire_at) SELECT queue, name, payload, now(), priority, 3, schedule_id, fire_at "
            "FROM dead_tasks WHERE id = ",
            dead, " RETURNING id")),
        &id));
    return id;
  }

  Schedule schedule_;
  int made_ = 1;

  void SetUp() override {
    ScheduleFiringTest::SetUp();
    schedule_ = CreateSchedule(Hourly());
  }
};

TEST_F(TakenFiringTest, ADeadTaskStaysDeadWhileAnotherOfItsFiringLives) {
  const std::int64_t dead = MakeDead();
  const std::int64_t other = MakeOther(dead);
  const absl::Status refused = tasks_.RedriveTask(dead, Deadline()).status();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition, reason::kFiringTaken));
  EXPECT_THAT(DetailsOf(refused).metadata,
              ElementsAre(std::pair<std::string, std::string>("other_task_id", absl::StrCat(other)),
                          std::pair<std::string, std::string>("task_id", absl::StrCat(dead))));
  EXPECT_EQ(tasks_.GetTask(dead, Deadline())->state, TaskState::kDead);
  const Claimed claimed = Claim({"q"});
  EXPECT_THAT(Ack({other, claimed.token}), IsOk());
  EXPECT_EQ(tasks_.RedriveTask(dead, Deadline())->state, TaskState::kPending);
  EXPECT_EQ(database_.Sql("SELECT sum(dead) FROM queue_counters"), "0");
}

TEST_F(TakenFiringTest, ADeadTaskWhoseFiringIsTakenKeepsNoOthersDead) {
  const std::int64_t taken = MakeDead();
  const std::int64_t free = MakeDead();
  MakeOther(taken);
  EXPECT_THAT(tasks_.RedriveTasks("q", 1, Deadline()), IsOkAndHolds(1));
  EXPECT_EQ(tasks_.GetTask(free, Deadline())->state, TaskState::kPending);
  EXPECT_THAT(tasks_.RedriveTasks("q", 10, Deadline()), IsOkAndHolds(0));
  EXPECT_EQ(tasks_.GetTask(taken, Deadline())->state, TaskState::kDead);
  EXPECT_EQ(database_.Sql("SELECT sum(dead) FROM queue_counters"), "1");
}

TEST_F(TakenFiringTest, OfTwoDeadTasksOfAFiringOneIsDrivenAgain) {
  const std::int64_t first = MakeDead();
  MakeOther(first);
  const std::int64_t second = Kill();
  EXPECT_THAT(tasks_.RedriveTasks("q", 10, Deadline()), IsOkAndHolds(1));
  EXPECT_EQ(tasks_.GetTask(first, Deadline())->state, TaskState::kPending);
  EXPECT_EQ(tasks_.GetTask(second, Deadline())->state, TaskState::kDead);
  EXPECT_EQ(database_.Sql("SELECT sum(dead) FROM queue_counters"), "1");
  EXPECT_EQ(database_.Sql("SELECT sum(pending) FROM queue_counters"), "1");
}

}  // namespace
}  // namespace parley::testing
