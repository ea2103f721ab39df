#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "db/model/firing_plan.h"
#include "db/repository/schedule_repository.h"
#include "tests/repository/schedule_fixture.h"
#include "tests/support/run_threads.h"
#include "tests/support/status_matchers.h"

namespace parley::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST_F(ScheduleFiringTest, AFiringMakesATaskOfTheTemplate) {
  ScheduleSettings settings = Hourly();
  settings.task = {.queue = "jobs",
                   .name = "report",
                   .payload = std::string("\0x", 2),
                   .headers = {{"h", "v"}},
                   .priority = 4,
                   .max_attempts = 2,
                   .expire_after = absl::Hours(2),
                   .retry = {.first = absl::Seconds(9)},
                   .run_timeout = absl::Minutes(3),
                   .concurrency_key = "k"};
  const Schedule schedule = CreateSchedule(settings);
  LieDown(schedule, absl::Hours(1));
  const auto fired = Fire();
  ASSERT_THAT(fired.tasks, SizeIs(1));
  EXPECT_EQ(fired.tasks[0].queue, "jobs");
  EXPECT_LE(fired.tasks[0].due_in, absl::ZeroDuration());
  const Schedule after = GetSchedule(schedule.id);
  EXPECT_EQ(after.counters.fired, 1);
  EXPECT_EQ(after.version, 1);
  EXPECT_EQ(after.update_time, schedule.update_time);
  const auto task = tasks_.GetTask(after.last_task_id, Deadline());
  ASSERT_THAT(task, IsOk());
  EXPECT_EQ(task->queue, "jobs");
  EXPECT_EQ(task->name, "report");
  EXPECT_EQ(task->payload, settings.task.payload);
  EXPECT_EQ(task->headers, settings.task.headers);
  EXPECT_EQ(task->priority, 4);
  EXPECT_EQ(task->max_attempts, 2);
  EXPECT_EQ(task->run_time, task->create_time);
  EXPECT_EQ(task->expire_time, task->run_time + absl::Hours(2));
  EXPECT_EQ(task->options.retry, settings.task.retry);
  EXPECT_EQ(task->options.run_timeout, absl::Minutes(3));
  EXPECT_EQ(task->concurrency_key, "k");
  ASSERT_TRUE(task->firing);
  EXPECT_EQ(task->firing->schedule_id, schedule.id);
  EXPECT_EQ(task->firing->fire_time, after.last_fire_time);
  EXPECT_EQ(Claim({"jobs"}).tasks.at(0).firing->fire_time, after.last_fire_time);
}

TEST_F(ScheduleFiringTest, NothingFiresBeforeItsTime) {
  CreateSchedule(Hourly());
  EXPECT_THAT(Fire().moved, IsEmpty());
  const auto next = schedules_.FindNextFiring({}, Deadline());
  ASSERT_THAT(next, IsOk());
  EXPECT_GT(next->due_in, absl::Minutes(20));
  EXPECT_LE(next->due_in, absl::Minutes(31));
  EXPECT_FALSE(next->buffering);
}

TEST_F(ScheduleFiringTest, ThreadsMakeEachFiringOnce) {
  ScheduleSettings settings = Hourly();
  settings.misfire_policy = MisfirePolicy::kAll;
  std::vector<Schedule> all;
  for (int i = 0; i < 20; ++i) all.push_back(CreateSchedule(settings));
  for (const Schedule& schedule : all) LieDown(schedule, absl::Hours(5));
  std::atomic<std::size_t> tasks{0};
  RunThreads(8, [&](int /*thread*/) {
    for (int round = 0; round < 10; ++round) {
      const auto fired = TryFire(3);
      EXPECT_THAT(fired, IsOk());
      if (fired.ok()) tasks += fired->tasks.size();
    }
  });
  // What all have passed over because one, who was slow, had it locked.
  for (auto left = Fire(); !left.moved.empty(); left = Fire()) tasks += left.tasks.size();
  for (const Schedule& schedule : all) {
    EXPECT_THAT(FireTimes(schedule), SizeIs(5));
    EXPECT_EQ(GetSchedule(schedule.id).counters.fired, 5);
  }
  EXPECT_EQ(tasks, 100);
}

TEST_F(ScheduleFiringTest, AfterAnOutageTheMisfirePolicyChoosesAndTheRestIsCounted) {
  struct Wanted {
    MisfirePolicy policy;
    std::size_t fired;
  };
  for (const Wanted& wanted : {Wanted{MisfirePolicy::kSkip, 0}, Wanted{MisfirePolicy::kLatest, 1},
                               Wanted{MisfirePolicy::kAll, 3}}) {
    ScheduleSettings settings = Hourly();
    settings.misfire_policy = wanted.policy;
    settings.misfire_limit = 3;
    const Schedule schedule = CreateSchedule(settings);
    LieDown(schedule, absl::Hours(8));
    Fire();
    const std::vector<absl::Time> times = FireTimes(schedule);
    EXPECT_THAT(times, SizeIs(wanted.fired));
    for (std::size_t i = 0; i < times.size(); ++i) {
      EXPECT_EQ(times[i], Firing(schedule, static_cast<int>(times.size() - i) - 1));
    }
    const Schedule after = GetSchedule(schedule.id);
    EXPECT_EQ(after.counters.fired, static_cast<std::int64_t>(wanted.fired));
    EXPECT_EQ(after.counters.fired + after.counters.missed, 8);
    EXPECT_EQ(after.next_fire_time, Firing(schedule, -1));
  }
}

TEST_F(ScheduleFiringTest, WhatIsOlderThanTheCatchUpWindowIsNotMade) {
  ScheduleSettings settings = Hourly();
  settings.catch_up_window = absl::Minutes(29);
  const Schedule schedule = CreateSchedule(settings);
  LieDown(schedule, absl::Hours(2));
  Fire();
  EXPECT_THAT(FireTimes(schedule), IsEmpty());
  EXPECT_EQ(GetSchedule(schedule.id).counters.missed, 2);
}

TEST_F(ScheduleFiringTest, SkipDiscardsAFiringWhileATaskLives) {
  const Schedule schedule = CreateSchedule(Hourly(OverlapPolicy::kSkip));
  LieDown(schedule, absl::Hours(1));
  EXPECT_THAT(Fire().tasks, SizeIs(1));
  const Claimed claimed = Claim({"q"});
  LieDown(schedule, absl::Hours(1));
  EXPECT_THAT(Fire().tasks, IsEmpty());
  EXPECT_EQ(GetSchedule(schedule.id).counters.overlapped, 1);
  EXPECT_THAT(Ack({claimed.tasks.at(0).id, claimed.token}), IsOk());
  LieDown(schedule, absl::Hours(1));
  EXPECT_THAT(Fire().tasks, SizeIs(1));
  EXPECT_EQ(GetSchedule(schedule.id).counters.fired, 2);
}

TEST_F(ScheduleFiringTest, ABufferedFiringComesWhenTheTaskHasEnded) {
  const Schedule schedule = CreateSchedule(Hourly(OverlapPolicy::kBufferOne));
  LieDown(schedule, absl::Hours(1));
  EXPECT_THAT(Fire().tasks, SizeIs(1));
  const Claimed claimed = Claim({"q"});
  database_.Sql("UPDATE tasks SET fire_at = fire_at - interval '1 h'");  // of the hour before
  LieDown(schedule, absl::Hours(1));
  EXPECT_THAT(Fire().tasks, IsEmpty());
  const absl::Time waiting = Firing(schedule, 0);
  EXPECT_EQ(GetSchedule(schedule.id).buffered_fire_time, waiting);
  EXPECT_TRUE(schedules_.FindNextFiring({}, Deadline())->buffering);
  EXPECT_THAT(Fire().moved, IsEmpty());
  EXPECT_THAT(Ack({claimed.tasks.at(0).id, claimed.token}), IsOk());
  EXPECT_THAT(Fire().tasks, SizeIs(1));
  const Schedule after = GetSchedule(schedule.id);
  EXPECT_EQ(after.buffered_fire_time, std::nullopt);
  EXPECT_EQ(after.counters.buffered, 1);
  EXPECT_EQ(after.counters.fired, 2);
  EXPECT_EQ(after.last_fire_time, waiting);
  EXPECT_FALSE(schedules_.FindNextFiring({}, Deadline())->buffering);
  EXPECT_THAT(FireTimes(schedule), ElementsAre(waiting - absl::Hours(1), waiting));
}

TEST_F(ScheduleFiringTest, APauseDiscardsTheBufferedFiring) {
  const Schedule schedule = CreateSchedule(Hourly(OverlapPolicy::kBufferOne));
  ASSERT_THAT(schedules_.Trigger({.id = schedule.id}, Deadline()), IsOk());
  LieDown(schedule, absl::Hours(1));
  Fire();
  EXPECT_TRUE(GetSchedule(schedule.id).buffered_fire_time);
  const auto paused = schedules_.Pause(schedule.id, "", Deadline());
  EXPECT_FALSE(paused->buffered_fire_time);
  EXPECT_EQ(paused->counters.missed, 1);
}

TEST_F(ScheduleFiringTest, CancelOtherCancelsWhatIsPendingAndAsksTheWorkerOfWhatRuns) {
  const Schedule schedule = CreateSchedule(Hourly(OverlapPolicy::kCancelOther));
  const auto running = schedules_.Trigger({.id = schedule.id}, Deadline());
  ASSERT_THAT(running, IsOk());
  ASSERT_THAT(Claim({"q"}).tasks, SizeIs(1));
  const auto pending = schedules_.Trigger({.id = schedule.id}, Deadline());
  ASSERT_THAT(pending, IsOk());
  const Task bystander = Create(MakeTask());
  LieDown(schedule, absl::Hours(1));
  EXPECT_THAT(Fire().tasks, SizeIs(1));
  EXPECT_EQ(tasks_.GetTask(pending->id, Deadline())->state, TaskState::kCancelled);
  const Task asked = *tasks_.GetTask(running->id, Deadline());
  EXPECT_EQ(asked.state, TaskState::kRunning);
  EXPECT_TRUE(asked.cancel_requested);
  EXPECT_EQ(tasks_.GetTask(bystander.id, Deadline())->state, TaskState::kPending);
  EXPECT_EQ(tasks_.GetTask(GetSchedule(schedule.id).last_task_id, Deadline())->state,
            TaskState::kPending);
}

TEST_F(ScheduleFiringTest, JitterDelaysTheTaskAndNotItsFiring) {
  ScheduleSettings settings = Hourly();
  settings.spec.anchor = *settings.spec.anchor + absl::Minutes(30);  // fires about now
  settings.jitter = absl::Hours(20);
  const Schedule schedule = CreateSchedule(settings);
  LieDown(schedule, absl::Hours(1));
  const auto fired = Fire();
  ASSERT_THAT(fired.tasks, SizeIs(1));
  const Schedule after = GetSchedule(schedule.id);
  const Task task = *tasks_.GetTask(after.last_task_id, Deadline());
  EXPECT_EQ(task.run_time,
            std::max(task.create_time,
                     task.firing->fire_time + JitterOf(schedule, task.firing->fire_time)));
}

}  // namespace
}  // namespace parley::testing
