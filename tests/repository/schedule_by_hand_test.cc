// Firings that somebody asks for, and those that zones move.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "db/repository/schedule_repository.h"
#include "tests/repository/schedule_fixture.h"
#include "tests/support/run_threads.h"
#include "tests/support/status_matchers.h"

namespace parley::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST_F(ScheduleFiringTest, ATriggerMakesOneTaskWhateverElseThereIs) {
  const Schedule schedule = CreateSchedule(Hourly(OverlapPolicy::kSkip));
  ASSERT_THAT(schedules_.Pause(schedule.id, "", Deadline()), IsOk());
  std::set<std::int64_t> ids;
  for (const char* request_id : {"", "", "a", "a", "b"}) {
    const auto task = schedules_.Trigger({.id = schedule.id, .request_id = request_id}, Deadline());
    ASSERT_THAT(task, IsOk());
    EXPECT_EQ(task->run_time, task->create_time);
    EXPECT_EQ(task->firing->schedule_id, schedule.id);
    ids.insert(task->id);
  }
  EXPECT_THAT(ids, SizeIs(4));
  const Schedule after = GetSchedule(schedule.id);
  EXPECT_EQ(after.counters.triggered, 4);
  EXPECT_EQ(after.counters.fired, 0);
  EXPECT_EQ(after.last_task_id, *ids.rbegin());
  EXPECT_TRUE(after.last_fire_time);
}

TEST_F(ScheduleFiringTest, ARequestIdStandsForOneSchedule) {
  const Schedule one = CreateSchedule(Hourly());
  const Schedule other = CreateSchedule(Hourly());
  const auto reused =
      StatusIs(absl::StatusCode::kAlreadyExists, std::string(reason::kRequestIdReused));
  ASSERT_THAT(schedules_.Trigger({.id = one.id, .request_id = "r"}, Deadline()), IsOk());
  EXPECT_THAT(schedules_.Trigger({.id = other.id, .request_id = "r"}, Deadline()), reused);
  const absl::Time last = Firing(one, 0);
  db::ScheduleRepository::BackfillParams params = {.id = one.id,
                                                   .start = last - absl::Hours(1),
                                                   .end = last,
                                                   .limit = 4,
                                                   .request_id = "r",
                                                   .fingerprint = "f"};
  ASSERT_THAT(schedules_.Backfill(params, Deadline()), IsOk());
  params.id = other.id;
  EXPECT_THAT(schedules_.Backfill(params, Deadline()), reused);
  EXPECT_THAT(FireTimes(other), IsEmpty());
}

TEST_F(ScheduleFiringTest, TriggersAtTheSameInstantHaveTasksEach) {
  const Schedule schedule = CreateSchedule();
  RunThreads(8, [&](int /*thread*/) {
    for (int i = 0; i < 5; ++i) {
      EXPECT_THAT(schedules_.Trigger({.id = schedule.id}, Deadline()), IsOk());
    }
  });
  EXPECT_THAT(FireTimes(schedule), SizeIs(40));
}

TEST_F(ScheduleFiringTest, ABackfillMakesTheFiringsOfItsRangeOnce) {
  const Schedule schedule = CreateSchedule(Hourly(OverlapPolicy::kSkip));
  const absl::Time last = Firing(schedule, 1);
  db::ScheduleRepository::BackfillParams params = {.id = schedule.id,
                                                   .start = last - absl::Hours(4),
                                                   .end = last,
                                                   .limit = 4,
                                                   .request_id = "fill",
                                                   .fingerprint = "f"};
  const auto filled = schedules_.Backfill(params, Deadline());
  ASSERT_THAT(filled, IsOk());
  EXPECT_EQ(filled->firings, 4);
  EXPECT_THAT(filled->queues, ElementsAre("q"));
  EXPECT_THAT(FireTimes(schedule), ElementsAre(last - absl::Hours(4), last - absl::Hours(3),
                                               last - absl::Hours(2), last - absl::Hours(1)));
  EXPECT_EQ(GetSchedule(schedule.id).counters.backfilled, 4);
  // Again, by its request, also when it would do something else by now.
  database_.Sql("DELETE FROM tasks");
  EXPECT_EQ(schedules_.Backfill(params, Deadline())->firings, 4);
  EXPECT_THAT(FireTimes(schedule), IsEmpty());
  ASSERT_THAT(schedules_.Delete(schedule.id, Deadline()), IsOk());
  EXPECT_EQ(schedules_.Backfill(params, Deadline())->firings, 4);
  params.fingerprint = "g";
  EXPECT_THAT(schedules_.Backfill(params, Deadline()),
              StatusIs(absl::StatusCode::kAlreadyExists, reason::kRequestIdReused));
}

TEST_F(ScheduleFiringTest, ABackfillLeavesAloneFiringsThatHaveATask) {
  const Schedule schedule = CreateSchedule(Hourly());
  const absl::Time last = Firing(schedule, 0);
  const db::ScheduleRepository::BackfillParams params = {
      .id = schedule.id, .start = last - absl::Hours(2), .end = last, .limit = 2};
  ASSERT_THAT(schedules_.Backfill(params, Deadline()), IsOk());
  const Claimed claimed = Claim({"q"});
  ASSERT_THAT(tasks_.EndAttempt({.lease = {claimed.tasks.at(0).id, claimed.token},
                                 .kind = AttemptEnd::Kind::kFailedForGood},
                                Deadline()),
              IsOk());
  const auto again = schedules_.Backfill(params, Deadline());
  EXPECT_EQ(again->firings, 2);
  EXPECT_THAT(again->queues, IsEmpty());
  EXPECT_THAT(FireTimes(schedule), SizeIs(2));
}

TEST_F(ScheduleFiringTest, ABackfillThatIsTooLargeOrNotOverDoesNothing) {
  const Schedule schedule = CreateSchedule(Hourly());
  const absl::Time now = Now();
  EXPECT_THAT(
      schedules_.Backfill(
          {.id = schedule.id, .start = now - absl::Hours(5), .end = now, .limit = 4}, Deadline()),
      Violates("limit"));
  EXPECT_THAT(schedules_.Backfill({.id = schedule.id,
                                   .start = now - absl::Hours(1),
                                   .end = now + absl::Minutes(1),
                                   .limit = 4},
                                  Deadline()),
              Violates("end_time"));
  EXPECT_THAT(FireTimes(schedule), IsEmpty());
  ScheduleSettings settings = Hourly();
  settings.task.payload = std::string(std::size_t{1} << 20, 'x');
  const Schedule heavy = CreateSchedule(settings);
  db::ScheduleRepository::BackfillParams params = {
      .id = heavy.id, .start = now - absl::Hours(33), .end = now, .limit = 100};
  EXPECT_THAT(schedules_.Backfill(params, Deadline()), Violates("end_time"));
  EXPECT_THAT(FireTimes(heavy), IsEmpty());
  params.start += absl::Hours(1);
  EXPECT_THAT(schedules_.Backfill(params, Deadline()), IsOk());
  EXPECT_THAT(FireTimes(heavy), SizeIs(32));
}

TEST_F(ScheduleFiringTest, AZoneThatIsNotKnownHereKeepsNoOtherScheduleFromFiring) {
  ScheduleSettings settings = Hourly();
  settings.spec = {.cron = "* * * * *", .time_zone = "UTC"};
  const Schedule lost = CreateSchedule(settings);
  database_.Sql("UPDATE schedules SET time_zone = 'Mars/Olympus'");
  const Schedule other = CreateSchedule(Hourly());
  LieDown(lost, absl::Hours(1));
  LieDown(other, absl::Hours(1));
  const auto fired = Fire();
  EXPECT_THAT(fired.stuck, ElementsAre(lost.id));
  EXPECT_EQ(fired.moved.size(), 1U);
  EXPECT_THAT(fired.tasks, SizeIs(1));
  // Whoever cannot fire it looks for others.
  LieDown(other, absl::Hours(1));
  EXPECT_THAT(schedules_.FindDue({1, {lost.id}}, Deadline()), IsOkAndHolds(ElementsAre(other.id)));
  EXPECT_GT(schedules_.FindNextFiring({lost.id, other.id}, Deadline())->due_in,
            absl::ZeroDuration());
}

TEST_F(ScheduleFiringTest, FollowsZonesWhoseRulesHaveChanged) {
  ScheduleSettings settings = Hourly();
  settings.spec = {.cron = "30 2 * * *", .time_zone = "Europe/Berlin"};
  const Schedule schedule = CreateSchedule(settings);
  const Schedule untouched = CreateSchedule(settings);
  // As if the zone had been an hour off when the next firing was worked out.
  database_.Sql(
      absl::StrCat("UPDATE schedules SET next_fire_at = next_fire_at + interval '1 h' "
                   "WHERE id = ",
                   schedule.id));
  auto batch = schedules_.FollowZones(0, 1, Deadline());
  ASSERT_THAT(batch, IsOk());
  EXPECT_EQ(batch->last_id, schedule.id);
  EXPECT_EQ(batch->moved, 1);
  batch = schedules_.FollowZones(batch->last_id, 1, Deadline());
  EXPECT_EQ(batch->last_id, untouched.id);
  EXPECT_EQ(batch->moved, 0);
  EXPECT_EQ(schedules_.FollowZones(batch->last_id, 1, Deadline())->last_id, 0);
  EXPECT_EQ(GetSchedule(schedule.id).next_fire_time, schedule.next_fire_time);
}

TEST_F(ScheduleFiringTest, TasksFollowZonesWhoseRulesHaveChanged) {
  NewTask task = MakeTask();
  task.run_time = absl::FromUnixSeconds(4'000'000'000);
  task.local_time = LocalTime{.date_time = "2096-10-28T02:30:00",
                              .time_zone = "Europe/Berlin",
                              .gap_policy = GapPolicy::kReject,
                              .fold_policy = FoldPolicy::kReject};
  const Task moved = Create(task);
  const Task tried = Create(task);
  database_.Sql(absl::StrCat("UPDATE tasks SET attempt = 1 WHERE id = ", tried.id));
  const Task given =
      *tasks_.RescheduleTask(Create(task).id, {.run_time = task.run_time}, Deadline());
  const Task plain = Create(MakeTask());
  auto batch = tasks_.FollowZones(0, 100, Deadline());
  ASSERT_THAT(batch, IsOk());
  EXPECT_EQ(batch->moved, 1);
  EXPECT_THAT(batch->queues, ElementsAre("q"));
  EXPECT_EQ(tasks_.FollowZones(batch->last_id, 100, Deadline())->last_id, 0);
  EXPECT_EQ(tasks_.FollowZones(0, 100, Deadline())->moved, 0);
  // The first of the two, though it was not to be ambiguous.
  const Task after = *tasks_.GetTask(moved.id, Deadline());
  EXPECT_EQ(after.run_time, absl::FromUnixSeconds(4'002'222'600));
  EXPECT_EQ(after.options.local_time->resolution, LocalTimeResolution::kAmbiguous);
  EXPECT_EQ(after.options.local_time->fold_policy, FoldPolicy::kReject);
  for (const Task& other : {tried, given, plain}) {
    EXPECT_EQ(tasks_.GetTask(other.id, Deadline())->run_time, other.run_time);
  }
}

}  // namespace
}  // namespace parley::testing
