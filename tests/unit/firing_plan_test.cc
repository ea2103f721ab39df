#include "db/model/firing_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace parley {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const absl::Time kNoon = absl::FromUnixSeconds(1'780'000'200);  // a multiple of 60

absl::Time Minutes(int minutes) { return kNoon + absl::Minutes(minutes); }

// Fires every minute, and has been dealt with up to `minutes` before noon.
Schedule EveryMinute(MisfirePolicy policy, int behind) {
  Schedule schedule;
  schedule.id = 1;
  schedule.spec.interval = absl::Minutes(1);
  schedule.spec.anchor = absl::UnixEpoch();
  schedule.misfire_policy = policy;
  schedule.misfire_limit = 3;
  schedule.catch_up_window = absl::Hours(1);
  schedule.considered_until = Minutes(-behind);
  return schedule;
}

DueFirings Due(const Schedule& schedule, absl::Time now) {
  const auto recurrence = RecurrenceOf(schedule.spec);
  EXPECT_TRUE(recurrence.ok());
  return FindDueFirings(schedule, *recurrence, now);
}

TEST(FindDueFiringsTest, APunctualFiringHappensWhateverThePolicy) {
  for (const MisfirePolicy policy :
       {MisfirePolicy::kSkip, MisfirePolicy::kLatest, MisfirePolicy::kAll}) {
    for (const absl::Duration late : {absl::ZeroDuration(), absl::Milliseconds(9999)}) {
      const DueFirings due = Due(EveryMinute(policy, 1), kNoon + late);
      EXPECT_THAT(due.times, ElementsAre(kNoon));
      EXPECT_EQ(due.missed, 0);
      EXPECT_EQ(due.next, Minutes(1));
    }
  }
}

TEST(FindDueFiringsTest, NothingIsDueBeforeItsTime) {
  const DueFirings due = Due(EveryMinute(MisfirePolicy::kAll, 1), kNoon - absl::Microseconds(1));
  EXPECT_THAT(due.times, IsEmpty());
  EXPECT_EQ(due.missed, 0);
  EXPECT_EQ(due.next, kNoon);
}

TEST(FindDueFiringsTest, OneThatIsTooLateIsForThePolicy) {
  const absl::Time late = kNoon + kFiringGrace;
  EXPECT_THAT(Due(EveryMinute(MisfirePolicy::kSkip, 1), late).times, IsEmpty());
  EXPECT_EQ(Due(EveryMinute(MisfirePolicy::kSkip, 1), late).missed, 1);
  EXPECT_THAT(Due(EveryMinute(MisfirePolicy::kLatest, 1), late).times, ElementsAre(kNoon));
  EXPECT_THAT(Due(EveryMinute(MisfirePolicy::kAll, 1), late).times, ElementsAre(kNoon));
}

TEST(FindDueFiringsTest, AfterAnOutageThePolicyChooses) {
  const absl::Time now = kNoon + absl::Seconds(30);  // nothing is punctual
  const DueFirings skip = Due(EveryMinute(MisfirePolicy::kSkip, 10), now);
  EXPECT_THAT(skip.times, IsEmpty());
  EXPECT_EQ(skip.missed, 10);
  const DueFirings latest = Due(EveryMinute(MisfirePolicy::kLatest, 10), now);
  EXPECT_THAT(latest.times, ElementsAre(kNoon));
  EXPECT_EQ(latest.missed, 9);
  const DueFirings all = Due(EveryMinute(MisfirePolicy::kAll, 10), now);
  EXPECT_THAT(all.times, ElementsAre(Minutes(-2), Minutes(-1), kNoon));
  EXPECT_EQ(all.missed, 7);
}

TEST(FindDueFiringsTest, AfterAnOutageAPunctualOneIsTheLatest) {
  const DueFirings skip = Due(EveryMinute(MisfirePolicy::kSkip, 10), kNoon);
  EXPECT_THAT(skip.times, ElementsAre(kNoon));
  EXPECT_EQ(skip.missed, 9);
  const DueFirings latest = Due(EveryMinute(MisfirePolicy::kLatest, 10), kNoon);
  EXPECT_THAT(latest.times, ElementsAre(kNoon));
  EXPECT_EQ(latest.missed, 9);
  const DueFirings all = Due(EveryMinute(MisfirePolicy::kAll, 10), kNoon);
  EXPECT_THAT(all.times, ElementsAre(Minutes(-3), Minutes(-2), Minutes(-1), kNoon));
  EXPECT_EQ(all.missed, 6);
}

TEST(FindDueFiringsTest, WhatIsOlderThanTheWindowIsDiscarded) {
  for (const MisfirePolicy policy : {MisfirePolicy::kLatest, MisfirePolicy::kAll}) {
    Schedule schedule = EveryMinute(policy, 10);
    schedule.catch_up_window = absl::Seconds(30);
    EXPECT_THAT(Due(schedule, kNoon + absl::Seconds(29)).times, ElementsAre(kNoon));
    const DueFirings due = Due(schedule, kNoon + absl::Seconds(30));
    EXPECT_THAT(due.times, IsEmpty());
    EXPECT_EQ(due.missed, 10);
    schedule.catch_up_window = absl::ZeroDuration();
    EXPECT_THAT(Due(schedule, kNoon + absl::Seconds(9)).times, ElementsAre(kNoon));
  }
}

TEST(FindDueFiringsTest, EveryFiringOfYearsIsCounted) {
  Schedule schedule = EveryMinute(MisfirePolicy::kLatest, 5 * 365 * 24 * 60);
  schedule.spec.interval = absl::ZeroDuration();
  schedule.spec.cron = "* * * * * *";
  schedule.spec.time_zone = "Europe/Berlin";
  const DueFirings due = Due(schedule, kNoon);
  EXPECT_EQ(due.times.size(), 10);  // those of the last ten seconds
  EXPECT_EQ(due.missed + 10, std::int64_t{5} * 365 * 24 * 3600);
}

TEST(FindDueFiringsTest, ChangesOfOffsetAreMetAsTheExpressionSays) {
  struct Change {
    const char* cron;
    std::int64_t now;  // 04:00 on the day of the change
    std::vector<std::int64_t> fired;
  };
  Schedule schedule = EveryMinute(MisfirePolicy::kAll, 0);
  schedule.spec.interval = absl::ZeroDuration();
  schedule.spec.time_zone = "Europe/Berlin";
  schedule.misfire_limit = 100;
  schedule.catch_up_window = absl::Hours(24);
  for (const Change& change : {
           // 2026-03-29: 02:00 to 03:00 is skipped; it becomes 03:30, or is left out.
           Change{"30 2 * * *", 1'774'749'600, {1'774'747'800}},
           Change{"30 * * * *", 1'774'749'600, {1'774'744'200, 1'774'747'800}},
           // 2026-10-25: 02:00 to 03:00 comes twice; the first counts, or both do.
           Change{"30 2 * * *", 1'792'897'200, {1'792'888'200}},
           Change{"30 * * * *",
                  1'792'897'200,
                  {1'792'884'600, 1'792'888'200, 1'792'891'800, 1'792'895'400}},
       }) {
    schedule.spec.cron = change.cron;
    // 01:00, before the change.
    const absl::Time now = absl::FromUnixSeconds(change.now);
    schedule.considered_until = now - absl::Hours(change.now < 1'780'000'000 ? 2 : 4);
    const DueFirings due = Due(schedule, now);
    std::vector<std::int64_t> fired;
    for (const absl::Time time : due.times) fired.push_back(absl::ToUnixSeconds(time));
    EXPECT_EQ(fired, change.fired) << change.cron;
    EXPECT_EQ(due.missed, 0);
  }
}

TEST(FindDueFiringsTest, AClockThatGoesBackMakesNothingTwice) {
  Schedule schedule = EveryMinute(MisfirePolicy::kAll, 0);
  const DueFirings due = Due(schedule, Minutes(-30));
  EXPECT_THAT(due.times, IsEmpty());
  EXPECT_EQ(due.missed, 0);
  EXPECT_EQ(due.next, Minutes(1));
}

TEST(FindDueFiringsTest, AScheduleComesToItsEnd) {
  Schedule schedule = EveryMinute(MisfirePolicy::kLatest, 1);
  schedule.spec.end_time = Minutes(1);
  const DueFirings due = Due(schedule, kNoon);
  EXPECT_THAT(due.times, ElementsAre(kNoon));
  EXPECT_EQ(due.next, std::nullopt);
}

TEST(FirstOfLateTest, ACatchUpInStepsIsTheSameAsInOne) {
  const Schedule schedule = EveryMinute(MisfirePolicy::kAll, 10);
  for (const absl::Duration after : {absl::ZeroDuration(), absl::Seconds(30)}) {
    const DueFirings whole = Due(schedule, kNoon + after);
    for (std::int64_t limit = 1; limit <= 5; ++limit) {
      Schedule step = schedule;
      std::vector<absl::Time> times;
      std::int64_t missed = 0;
      for (bool more = true; more;) {
        DueFirings due = Due(step, kNoon + after);
        if (due.late > 0) due = FirstOfLate(due, limit);
        EXPECT_LE(due.late, limit);
        times.insert(times.end(), due.times.begin(), due.times.end());
        missed += due.missed;
        more = due.until.has_value();
        if (more) {
          EXPECT_EQ(due.until, times.back());
          EXPECT_GT(*due.next, *due.until);
          step.considered_until = *due.until;
        } else {
          EXPECT_EQ(due.next, whole.next);
        }
      }
      EXPECT_EQ(times, whole.times);
      EXPECT_EQ(missed, whole.missed);
    }
  }
}

TEST(FirstOfLateTest, ThoseInTimeStayTogether) {
  Schedule schedule = EveryMinute(MisfirePolicy::kAll, 10);
  schedule.spec.interval = absl::Seconds(1);
  const DueFirings due = Due(schedule, kNoon);
  ASSERT_EQ(due.late, 3);
  const DueFirings first = FirstOfLate(due, 5);
  EXPECT_EQ(first.times.size(), 3);
  EXPECT_EQ(first.until, kNoon - absl::Seconds(10));
  EXPECT_EQ(first.next, kNoon - absl::Seconds(9));
  schedule.considered_until = *first.until;
  const DueFirings second = Due(schedule, kNoon);
  EXPECT_EQ(second.late, 0);
  EXPECT_EQ(second.times.size(), 10);
  EXPECT_EQ(second.missed, 0);
}

struct OverlapCase {
  const char* name;
  OverlapPolicy policy;
  bool has_task;
  bool has_buffered;        // the firing of five minutes ago
  int due;                  // how many: at noon, a minute later...
  std::vector<int> create;  // -5: the buffered one
  std::optional<int> buffer;
  int buffered;
  int overlapped;
  bool cancel_others;
};

void PrintTo(const OverlapCase& test, std::ostream* out) { *out << test.name; }

const OverlapCase kOverlapCases[] = {
    {"skip, free", OverlapPolicy::kSkip, false, false, 1, {0}, {}, 0, 0, false},
    {"skip, free, two", OverlapPolicy::kSkip, false, false, 2, {0}, {}, 0, 1, false},
    {"skip, busy", OverlapPolicy::kSkip, true, false, 2, {}, {}, 0, 2, false},
    {"buffer, free", OverlapPolicy::kBufferOne, false, false, 1, {0}, {}, 0, 0, false},
    {"buffer, free, three", OverlapPolicy::kBufferOne, false, false, 3, {0}, 1, 1, 1, false},
    {"buffer, busy", OverlapPolicy::kBufferOne, true, false, 1, {}, 0, 1, 0, false},
    {"buffer, busy, one waits", OverlapPolicy::kBufferOne, true, true, 1, {}, -5, 0, 1, false},
    {"buffer, one may go", OverlapPolicy::kBufferOne, false, true, 0, {-5}, {}, 0, 0, false},
    {"buffer, one may go, one comes",
     OverlapPolicy::kBufferOne,
     false,
     true,
     1,
     {-5},
     0,
     1,
     0,
     false},
    {"buffer, still busy", OverlapPolicy::kBufferOne, true, true, 0, {}, -5, 0, 0, false},
    {"allow, busy", OverlapPolicy::kAllow, true, false, 3, {0, 1, 2}, {}, 0, 0, false},
    {"cancel, free", OverlapPolicy::kCancelOther, false, false, 1, {0}, {}, 0, 0, false},
    {"cancel, busy", OverlapPolicy::kCancelOther, true, false, 3, {2}, {}, 0, 2, true},
    {"cancel, nothing due", OverlapPolicy::kCancelOther, true, false, 0, {}, {}, 0, 0, false},
    // The policy was another one when it began to wait.
    {"skip, busy, one waits", OverlapPolicy::kSkip, true, true, 0, {}, {}, 0, 1, false},
    {"allow, one waits", OverlapPolicy::kAllow, true, true, 1, {-5, 0}, {}, 0, 0, false},
};

class OverlapTest : public ::testing::TestWithParam<OverlapCase> {};

TEST_P(OverlapTest, IsPlannedAsThePolicySays) {
  const OverlapCase& test = GetParam();
  Schedule schedule;
  schedule.overlap_policy = test.policy;
  if (test.has_buffered) schedule.buffered_fire_time = Minutes(-5);
  std::vector<absl::Time> due;
  for (int i = 0; i < test.due; ++i) due.push_back(Minutes(i));
  const FiringPlan plan = PlanFirings(schedule, test.has_task, due);
  std::vector<absl::Time> create;
  for (const int minutes : test.create) create.push_back(Minutes(minutes));
  EXPECT_EQ(plan.create, create);
  std::optional<absl::Time> buffer;
  if (test.buffer) buffer = Minutes(*test.buffer);
  EXPECT_EQ(plan.buffer, buffer);
  EXPECT_EQ(plan.buffered, test.buffered);
  EXPECT_EQ(plan.overlapped, test.overlapped);
  EXPECT_EQ(plan.cancel_others, test.cancel_others);
  // Every firing is in one place.
  EXPECT_EQ(
      plan.create.size() + static_cast<std::size_t>(plan.overlapped) + plan.buffer.has_value(),
      due.size() + test.has_buffered);
}

INSTANTIATE_TEST_SUITE_P(Policies, OverlapTest, ::testing::ValuesIn(kOverlapCases));

TEST(JitterTest, IsTheSameForTheSameFiringAndSpreadOverItsRange) {
  Schedule schedule;
  schedule.id = 7;
  EXPECT_EQ(JitterOf(schedule, kNoon), absl::ZeroDuration());
  schedule.jitter = absl::Minutes(10);
  std::set<absl::Duration> seen;
  for (int i = 0; i < 1000; ++i) {
    const absl::Duration jitter = JitterOf(schedule, Minutes(i));
    EXPECT_EQ(jitter, JitterOf(schedule, Minutes(i)));
    EXPECT_GE(jitter, absl::ZeroDuration());
    EXPECT_LT(jitter, absl::Minutes(10));
    seen.insert(jitter);
  }
  EXPECT_GT(seen.size(), 990);
  EXPECT_LT(*seen.begin(), absl::Seconds(30));
  EXPECT_GT(*seen.rbegin(), absl::Minutes(9.5));
  Schedule other = schedule;
  other.id = 8;
  EXPECT_NE(JitterOf(other, kNoon), JitterOf(schedule, kNoon));
}

}  // namespace
}  // namespace parley
