// Firings that weigh much, and many of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "db/repository/schedule_repository.h"
#include "tests/repository/schedule_fixture.h"
#include "tests/support/run_threads.h"
#include "tests/support/status_matchers.h"

namespace parley::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class CatchUpTest : public ScheduleFiringTest {
 protected:
  // Fifteen of its tasks fit into a step.
  ScheduleSettings Heavy(OverlapPolicy policy = OverlapPolicy::kAllow) {
    ScheduleSettings settings = Hourly(policy);
    settings.misfire_policy = MisfirePolicy::kAll;
    settings.misfire_limit = 40;
    settings.catch_up_window = absl::Hours(1000);
    settings.task.payload = std::string(std::size_t{256} << 10, 'x');
    return settings;
  }

  // Steps until nothing moves any more; returns how many tasks each has made.
  std::vector<std::size_t> FireAll() {
    std::vector<std::size_t> counts;
    for (auto fired = Fire(); !fired.moved.empty(); fired = Fire())
      counts.push_back(fired.tasks.size());
    return counts;
  }
};

TEST_F(CatchUpTest, WhatWeighsMuchIsMadeInSteps) {
  const Schedule schedule = CreateSchedule(Heavy());
  LieDown(schedule, absl::Hours(50));
  EXPECT_THAT(Fire().tasks, SizeIs(15));
  const Schedule between = GetSchedule(schedule.id);
  EXPECT_EQ(between.counters.fired, 15);
  EXPECT_EQ(between.counters.missed, 10);
  EXPECT_EQ(between.considered_until, Firing(schedule, 25));
  EXPECT_EQ(between.last_fire_time, Firing(schedule, 25));
  EXPECT_EQ(between.next_fire_time, Firing(schedule, 24));
  EXPECT_THAT(FireAll(), ElementsAre(15, 10));
  std::vector<absl::Time> wanted;
  for (int hours = 39; hours >= 0; --hours) wanted.push_back(Firing(schedule, hours));
  EXPECT_EQ(FireTimes(schedule), wanted);
  const Schedule after = GetSchedule(schedule.id);
  EXPECT_EQ(after.counters.fired, 40);
  EXPECT_EQ(after.counters.missed, 10);
  EXPECT_EQ(after.next_fire_time, Firing(schedule, -1));
  EXPECT_GT(after.considered_until, after.last_fire_time);
}

TEST_F(CatchUpTest, ManyAreMadeInStepsHoweverLittleTheyWeigh) {
  ScheduleSettings settings = Heavy();
  settings.task.payload.clear();
  settings.misfire_limit = 700;
  for (int i = 0; i < 2; ++i) LieDown(CreateSchedule(settings), absl::Hours(900));
  EXPECT_THAT(FireAll(), ElementsAre(1000, 400));
}

TEST_F(CatchUpTest, TheOthersDoNotWaitForIt) {
  const Schedule behind = CreateSchedule(Heavy());
  const Schedule more_behind = CreateSchedule(Heavy());
  ScheduleSettings settings = Heavy();
  settings.misfire_policy = MisfirePolicy::kLatest;
  const Schedule latest = CreateSchedule(settings);
  const Schedule in_time = CreateSchedule(Hourly());
  LieDown(behind, absl::Hours(20));
  LieDown(more_behind, absl::Hours(30));
  LieDown(latest, absl::Hours(3));
  LieDown(in_time, absl::Microseconds(2));
  // However few are looked for.
  EXPECT_THAT(schedules_.FindDue({1, {}}, Deadline()),
              IsOkAndHolds(ElementsAre(in_time.id, more_behind.id)));
  EXPECT_THAT(schedules_.FindDue({3, {}}, Deadline()),
              IsOkAndHolds(ElementsAre(in_time.id, more_behind.id, behind.id, latest.id)));
  EXPECT_THAT(Fire().tasks, SizeIs(15));
  EXPECT_EQ(GetSchedule(latest.id).counters.fired, 1);
  EXPECT_EQ(GetSchedule(more_behind.id).counters.fired, 14);
  EXPECT_EQ(GetSchedule(behind.id).counters.fired, 0);
  EXPECT_GT(GetSchedule(in_time.id).considered_until, in_time.considered_until);
  FireAll();
  EXPECT_EQ(GetSchedule(latest.id).counters.fired, 1);
  EXPECT_EQ(GetSchedule(more_behind.id).counters.fired, 30);
  EXPECT_EQ(GetSchedule(behind.id).counters.fired, 20);
}

TEST_F(CatchUpTest, ManyThatFireOnceAreMadeInSteps) {
  std::vector<std::int64_t> ids;
  for (int i = 0; i < 20; ++i) {
    const Schedule schedule = CreateSchedule(Heavy(OverlapPolicy::kSkip));
    LieDown(schedule, absl::Hours(2));
    ids.push_back(schedule.id);
  }
  EXPECT_THAT(FireAll(), ElementsAre(15, 5));
  for (const std::int64_t id : ids) {
    EXPECT_EQ(GetSchedule(id).counters.fired, 1);
    EXPECT_EQ(GetSchedule(id).counters.overlapped, 1);
  }
}

TEST_F(CatchUpTest, WhatIsInTimeGoesBeforeWhatIsLateAndCannotBeSpread) {
  std::vector<std::int64_t> late;
  for (int i = 0; i < 15; ++i) {
    const Schedule schedule = CreateSchedule(Heavy(OverlapPolicy::kSkip));
    LieDown(schedule, absl::Hours(20 - i));
    late.push_back(schedule.id);
  }
  ScheduleSettings settings = Heavy(OverlapPolicy::kSkip);
  settings.spec.interval = absl::Seconds(1);
  const Schedule in_time = CreateSchedule(settings);
  LieDown(in_time, absl::Seconds(2));
  const auto fired = Fire();
  EXPECT_THAT(fired.moved, SizeIs(15));
  EXPECT_EQ(fired.moved.front(), in_time.id);
  EXPECT_THAT(fired.moved, Not(Contains(late.back())));  // the one that has waited for least long
}

TEST_F(CatchUpTest, ThreadsMakeEachFiringOfACatchUpOnce) {
  const Schedule one = CreateSchedule(Heavy());
  const Schedule two = CreateSchedule(Heavy());
  LieDown(one, absl::Hours(60));
  LieDown(two, absl::Hours(60));
  RunThreads(4, [&](int /*thread*/) {
    for (int round = 0; round < 5; ++round) EXPECT_THAT(TryFire(1), IsOk());
  });
  FireAll();
  for (const Schedule& schedule : {one, two}) {
    EXPECT_THAT(FireTimes(schedule), SizeIs(40));
    EXPECT_EQ(GetSchedule(schedule.id).counters.fired, 40);
    EXPECT_EQ(GetSchedule(schedule.id).counters.missed, 20);
  }
}

TEST_F(CatchUpTest, WhatAnotherFiringCancelsIsCancelledInSteps) {
  const Schedule schedule = CreateSchedule(Heavy(OverlapPolicy::kCancelOther));
  const absl::Time end = Firing(schedule, 1);
  ASSERT_THAT(
      schedules_.Backfill(
          {.id = schedule.id, .start = end - absl::Hours(20), .end = end, .limit = 20}, Deadline()),
      IsOk());
  ASSERT_THAT(Claim({"q"}).tasks, SizeIs(1));
  LieDown(schedule, absl::Hours(1));
  const auto first = Fire();
  EXPECT_THAT(first.moved, ElementsAre(schedule.id));
  EXPECT_THAT(first.tasks, IsEmpty());
  EXPECT_EQ(GetSchedule(schedule.id).counters.fired, 0);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM task_history"), "15");
  EXPECT_THAT(FireAll(), ElementsAre(1));
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM task_history"), "19");
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM tasks WHERE cancel_requested"), "1");
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM tasks WHERE state = 'pending'"), "1");
  EXPECT_EQ(GetSchedule(schedule.id).counters.fired, 1);
}

}  // namespace
}  // namespace parley::testing
