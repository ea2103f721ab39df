// What the tests of ScheduleRepository share.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "db/repository/schedule_repository.h"
#include "tests/repository/task_fixture.h"

namespace parley::testing {

class ScheduleRepositoryTest : public TaskRepositoryTest {
 protected:
  // Every hour on the hour, to queue "q".
  static ScheduleSettings MakeSettings() {
    ScheduleSettings settings;
    settings.spec.interval = absl::Hours(1);
    settings.spec.anchor = absl::UnixEpoch();
    settings.spec.time_zone = "Europe/Berlin";
    settings.task.queue = "q";
    settings.task.name = "work";
    settings.misfire_limit = 100;
    settings.catch_up_window = absl::Hours(24);
    return settings;
  }

  absl::StatusOr<Schedule> TryCreateSchedule(const ScheduleSettings& settings,
                                             const std::string& request_id = "",
                                             const std::string& fingerprint = "f") {
    return schedules_.Create({settings, request_id, fingerprint}, Deadline());
  }
  Schedule CreateSchedule(const ScheduleSettings& settings = MakeSettings()) {
    absl::StatusOr<Schedule> created = TryCreateSchedule(settings);
    EXPECT_TRUE(created.ok()) << created.status();
    return created.ok() ? *std::move(created) : Schedule();
  }
  Schedule GetSchedule(std::int64_t id) {
    absl::StatusOr<Schedule> read = schedules_.Get(id, Deadline());
    EXPECT_TRUE(read.ok()) << read.status();
    return read.ok() ? *std::move(read) : Schedule();
  }

  // As if nothing had run for a while: the schedule has been dealt with up to `ago`, and fires
  // first so much later.
  void LieDown(const Schedule& schedule, absl::Duration ago,
               absl::Duration first = absl::Microseconds(1)) {
    database_.Sql(
        absl::StrCat("UPDATE schedules SET considered_until = now() - interval '",
                     absl::ToInt64Microseconds(ago), " us', next_fire_at = now() - interval '",
                     absl::ToInt64Microseconds(ago - first), " us' WHERE id = ", schedule.id));
  }

  // A step of what a process does all the time.
  absl::StatusOr<db::ScheduleRepository::FireResult> TryFire(std::int32_t max_schedules) {
    const auto due = schedules_.FindDue({max_schedules, {}}, Deadline());
    if (!due.ok()) return due.status();
    return schedules_.Fire(*due, Deadline());
  }
  db::ScheduleRepository::FireResult Fire() {
    absl::StatusOr<db::ScheduleRepository::FireResult> fired = TryFire(100);
    EXPECT_TRUE(fired.ok()) << fired.status();
    return fired.ok() ? *std::move(fired) : db::ScheduleRepository::FireResult();
  }

  // The firings of a schedule that have got a task, whatever has become of it.
  std::vector<absl::Time> FireTimes(const Schedule& schedule) {
    const std::string text = database_.Sql(
        absl::StrCat("SELECT string_agg((extract(epoch FROM fire_at) * 1000000)::bigint::text, ' ' "
                     "ORDER BY fire_at) FROM all_tasks WHERE schedule_id = ",
                     schedule.id));
    std::vector<absl::Time> times;
    for (const absl::string_view number : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
      std::int64_t micros = 0;
      EXPECT_TRUE(absl::SimpleAtoi(number, &micros));
      times.push_back(absl::FromUnixMicros(micros));
    }
    return times;
  }

  absl::Time Now() { return *schedules_.Now(Deadline()); }

  db::ScheduleRepository schedules_{database_.pool()};
};

// Schedules that fire far from now.
class ScheduleFiringTest : public ScheduleRepositoryTest {
 protected:
  // Far from the hour, so that a test does not see it pass.
  void SetUp() override {
    const absl::Duration into_hour = (Now() - absl::UnixEpoch()) % absl::Hours(1);
    // Schedules fire at this offset into an hour, half an hour ago.
    offset_ = into_hour - absl::Minutes(30);
  }

  ScheduleSettings Hourly(OverlapPolicy policy = OverlapPolicy::kAllow) {
    ScheduleSettings settings = MakeSettings();
    settings.spec.anchor = absl::UnixEpoch() + absl::Hours(1) + offset_;
    settings.overlap_policy = policy;
    return settings;
  }
  // When such a schedule fired `hours` firings before its last one.
  absl::Time Firing(const Schedule& schedule, int hours) {
    const absl::Time now = Now();
    return now - (now - *schedule.spec.anchor) % absl::Hours(1) - absl::Hours(hours);
  }

  absl::Duration offset_;
};

}  // namespace parley::testing
