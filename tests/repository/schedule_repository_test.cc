#include "db/repository/schedule_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/repository/schedule_fixture.h"
#include "tests/support/run_threads.h"
#include "tests/support/status_matchers.h"

namespace parley::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST_F(ScheduleRepositoryTest, KeepsEverythingThatAScheduleWasCreatedWith) {
  ScheduleSettings settings = MakeSettings();
  settings.name = "n\xc3\xa4me 'x' :y";
  settings.spec = {.cron = "30 2 * * *",
                   .time_zone = "Europe/Berlin",
                   .start_time = absl::FromUnixMicros(1'900'000'000'000'001),
                   .end_time = absl::FromUnixMicros(7'258'118'399'999'999)};  // the last of 2199
  settings.task = {.queue = "other",
                   .name = "job",
                   .payload = std::string("\0\xff'\\", 4),
                   .headers = {{"a \"b\"", ":c"}},
                   .priority = 9,
                   .max_attempts = 7,
                   .expire_after = absl::Microseconds(1'000'001),
                   .retry = {.first = absl::Seconds(3), .multiplier = 1.5},
                   .run_timeout = absl::Minutes(2),
                   .concurrency_key = "key"};
  settings.misfire_policy = MisfirePolicy::kAll;
  settings.misfire_limit = 17;
  settings.catch_up_window = absl::Microseconds(90'000'001);
  settings.overlap_policy = OverlapPolicy::kCancelOther;
  settings.jitter = absl::Microseconds(5'000'001);
  const Schedule created = CreateSchedule(settings);
  for (const Schedule& got :
       {created, GetSchedule(created.id), *schedules_.GetByName(settings.name, Deadline())}) {
    EXPECT_TRUE(static_cast<const ScheduleSettings&>(got) == settings);
    EXPECT_EQ(got.id, created.id);
    EXPECT_EQ(got.version, 1);
    EXPECT_FALSE(got.paused_at);
    ASSERT_TRUE(got.next_fire_time);
    EXPECT_GT(*got.next_fire_time, *settings.spec.start_time);
    EXPECT_EQ(got.considered_until, got.create_time);
    EXPECT_EQ(got.last_task_id, 0);
  }
}

TEST_F(ScheduleRepositoryTest, AnIntervalBeginsWhenItsScheduleDoes) {
  ScheduleSettings settings = MakeSettings();
  settings.spec.anchor = std::nullopt;
  const Schedule schedule = CreateSchedule(settings);
  EXPECT_EQ(schedule.spec.anchor, schedule.create_time);
  EXPECT_EQ(schedule.next_fire_time, schedule.create_time + absl::Hours(1));
  settings.spec.start_time = schedule.create_time + absl::Hours(5);
  const Schedule later = CreateSchedule(settings);
  EXPECT_EQ(later.spec.anchor, settings.spec.start_time);
  EXPECT_EQ(later.next_fire_time, settings.spec.start_time);
}

TEST_F(ScheduleRepositoryTest, ARequestIdCreatesOneSchedule) {
  std::vector<std::int64_t> ids(8);
  RunThreads(8, [&](int thread) {
    const auto created = TryCreateSchedule(MakeSettings(), "once");
    EXPECT_THAT(created, IsOk());
    if (created.ok()) ids[static_cast<std::size_t>(thread)] = created->id;
  });
  EXPECT_THAT(std::set<std::int64_t>(ids.begin(), ids.end()), SizeIs(1));
  EXPECT_THAT(TryCreateSchedule(MakeSettings(), "once", "other"),
              StatusIs(absl::StatusCode::kAlreadyExists, reason::kRequestIdReused));
  ASSERT_THAT(schedules_.Delete(ids[0], Deadline()), IsOk());
  EXPECT_THAT(TryCreateSchedule(MakeSettings(), "once"),
              StatusIs(absl::StatusCode::kNotFound, reason::kScheduleNotFound));
}

TEST_F(ScheduleRepositoryTest, ANameIsTakenOnce) {
  ScheduleSettings settings = MakeSettings();
  settings.name = "nightly";
  CreateSchedule(settings);
  EXPECT_THAT(TryCreateSchedule(settings),
              StatusIs(absl::StatusCode::kAlreadyExists, reason::kScheduleNameTaken));
  const Schedule other = CreateSchedule();
  EXPECT_THAT(schedules_.Update({.id = other.id, .change = {.name = "nightly"}}, Deadline()),
              StatusIs(absl::StatusCode::kAlreadyExists, reason::kScheduleNameTaken));
  EXPECT_EQ(GetSchedule(other.id).name, "");
}

TEST_F(ScheduleRepositoryTest, WhatIsNotThereIsNotFound) {
  const auto not_found = StatusIs(absl::StatusCode::kNotFound, reason::kScheduleNotFound);
  EXPECT_THAT(schedules_.Get(9, Deadline()), not_found);
  EXPECT_THAT(schedules_.GetByName("nobody", Deadline()), not_found);
  EXPECT_THAT(schedules_.Update({.id = 9}, Deadline()), not_found);
  EXPECT_THAT(schedules_.Pause(9, "", Deadline()), not_found);
  EXPECT_THAT(schedules_.Resume(9, Deadline()), not_found);
  EXPECT_THAT(schedules_.Delete(9, Deadline()), not_found);
  EXPECT_THAT(schedules_.Trigger({.id = 9}, Deadline()), not_found);
  EXPECT_THAT(schedules_.Backfill({.id = 9,
                                   .start = absl::UnixEpoch(),
                                   .end = absl::UnixEpoch() + absl::Seconds(1),
                                   .limit = 1},
                                  Deadline()),
              not_found);
}

TEST_F(ScheduleRepositoryTest, ListsTheLatestFirstByPagesAndQueue) {
  ScheduleSettings settings = MakeSettings();
  std::vector<std::int64_t> ids;
  for (int i = 0; i < 5; ++i) {
    settings.task.queue = i == 2 ? "other" : "q";
    ids.push_back(CreateSchedule(settings).id);
  }
  const auto ids_of = [](const auto& page) {
    std::vector<std::int64_t> listed;
    for (const Schedule& schedule : page.rows) listed.push_back(schedule.id);
    return listed;
  };
  const auto first = *schedules_.List({.page = {.limit = 2}, .queue = "q"}, Deadline());
  EXPECT_THAT(ids_of(first), ElementsAre(ids[4], ids[3]));
  const auto second =
      *schedules_.List({.page = {.limit = 2, .after = first.next}, .queue = "q"}, Deadline());
  EXPECT_THAT(ids_of(second), ElementsAre(ids[1], ids[0]));
  EXPECT_FALSE(second.next);
  EXPECT_THAT(ids_of(*schedules_.List({.page = {.offset = 2}}, Deadline())),
              ElementsAre(ids[2], ids[1], ids[0]));
}

TEST_F(ScheduleRepositoryTest, APageIsCutBeforeItGetsTooLarge) {
  ScheduleSettings settings = MakeSettings();
  settings.task.payload = std::string(std::size_t{1} << 20, 'x');
  for (int i = 0; i < 4; ++i) CreateSchedule(settings);
  const auto page = *schedules_.List({}, Deadline());
  EXPECT_THAT(page.rows, SizeIs(2));
  EXPECT_EQ(page.next, page.rows.back().id);
}

TEST_F(ScheduleRepositoryTest, AnUpdateChangesWhatItNames) {
  const Schedule before = CreateSchedule();
  TaskTemplate task = before.task;
  task.payload = "new";
  const auto updated =
      schedules_.Update({.id = before.id,
                         .change = {.name = "n", .task = task, .jitter = absl::Seconds(1)},
                         .version = 1},
                        Deadline());
  ASSERT_THAT(updated, IsOk());
  ScheduleSettings wanted = before;
  wanted.name = "n";
  wanted.task = task;
  wanted.jitter = absl::Seconds(1);
  EXPECT_TRUE(static_cast<const ScheduleSettings&>(*updated) == wanted);
  EXPECT_EQ(updated->version, 2);
  EXPECT_GT(updated->update_time, before.update_time);
  EXPECT_EQ(updated->next_fire_time, before.next_fire_time);
  EXPECT_EQ(updated->considered_until, before.considered_until);
  EXPECT_THAT(
      schedules_.Update({.id = before.id, .change = {.name = "m"}, .version = 1}, Deadline()),
      StatusIs(absl::StatusCode::kAborted, reason::kEtagMismatch));
  // What changes nothing is no change.
  const auto again = schedules_.Update({.id = before.id, .change = {.name = "n"}}, Deadline());
  EXPECT_EQ(again->version, 2);
  EXPECT_EQ(again->update_time, updated->update_time);
}

TEST_F(ScheduleRepositoryTest, AnotherSpecCountsFromNowAndOldFiringsAreMissed) {
  const Schedule schedule = CreateSchedule();
  LieDown(schedule, absl::Hours(3));
  ScheduleSpec spec = schedule.spec;
  spec.interval = absl::Minutes(7);
  const auto updated = schedules_.Update({.id = schedule.id, .change = {.spec = spec}}, Deadline());
  ASSERT_THAT(updated, IsOk());
  EXPECT_EQ(updated->counters.missed, 3);
  EXPECT_EQ(updated->considered_until, updated->update_time);
  EXPECT_GT(*updated->next_fire_time, updated->update_time);
  EXPECT_LE(*updated->next_fire_time, updated->update_time + absl::Minutes(7));
  EXPECT_EQ((*updated->next_fire_time - absl::UnixEpoch()) % absl::Minutes(7),
            absl::ZeroDuration());
  // The interval keeps its anchor.
  spec.anchor = std::nullopt;
  EXPECT_EQ(schedules_.Update({.id = schedule.id, .change = {.spec = spec}}, Deadline())->version,
            updated->version);
}

TEST_F(ScheduleRepositoryTest, APausedScheduleDoesNotFireAndCountsWhatItMisses) {
  const Schedule schedule = CreateSchedule();
  const auto paused = schedules_.Pause(schedule.id, "why", Deadline());
  ASSERT_THAT(paused, IsOk());
  EXPECT_TRUE(paused->paused_at);
  EXPECT_EQ(paused->pause_note, "why");
  EXPECT_EQ(paused->version, 2);
  EXPECT_EQ(schedules_.Pause(schedule.id, "why", Deadline())->version, 2);
  const auto renamed = schedules_.Pause(schedule.id, "because", Deadline());
  EXPECT_EQ(renamed->paused_at, paused->paused_at);
  EXPECT_EQ(renamed->pause_note, "because");

  LieDown(schedule, absl::Hours(4));
  EXPECT_THAT(Fire().moved, IsEmpty());
  EXPECT_EQ(schedules_.FindNextFiring({}, Deadline())->due_in, absl::InfiniteDuration());
  const auto resumed = schedules_.Resume(schedule.id, Deadline());
  ASSERT_THAT(resumed, IsOk());
  EXPECT_FALSE(resumed->paused_at);
  EXPECT_EQ(resumed->pause_note, "");
  EXPECT_EQ(resumed->counters.missed, 4);
  EXPECT_GT(*resumed->next_fire_time, Now());
  EXPECT_THAT(Fire().moved, IsEmpty());
  EXPECT_THAT(FireTimes(schedule), IsEmpty());
  EXPECT_EQ(schedules_.Resume(schedule.id, Deadline())->version, resumed->version);
}

TEST_F(ScheduleRepositoryTest, ADeletedScheduleLeavesItsTasks) {
  const Schedule schedule = CreateSchedule();
  const auto task = schedules_.Trigger({.id = schedule.id}, Deadline());
  ASSERT_THAT(task, IsOk());
  ASSERT_THAT(schedules_.Delete(schedule.id, Deadline()), IsOk());
  EXPECT_THAT(tasks_.GetTask(task->id, Deadline()), IsOk());
  EXPECT_THAT(Claim({"q"}).tasks, SizeIs(1));
}

}  // namespace
}  // namespace parley::testing
