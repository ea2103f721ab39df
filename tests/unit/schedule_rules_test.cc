#include "services/scheduler/schedule_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <string>

#include "services/scheduler/schedule_convert.h"
#include "tests/support/status_matchers.h"

namespace parley::scheduler {
namespace {

using ::parley::testing::IsOk;
using ::parley::testing::Violates;

pb::CreateScheduleRequest GoodRequest() {
  pb::CreateScheduleRequest request;
  pb::Schedule& schedule = *request.mutable_schedule();
  schedule.mutable_spec()->set_cron("30 2 * * *");
  schedule.mutable_task()->set_queue("q");
  schedule.mutable_task()->set_name("work");
  return request;
}

struct Checked {
  ScheduleSettings settings;
  absl::Status status;
};

Checked CheckSchedule(const pb::Schedule& schedule) {
  Violations violations;
  Checked checked = {SettingsFromProto(schedule, violations), absl::OkStatus()};
  PrepareSettings("Europe/Berlin", checked.settings, violations);
  checked.status = violations.ToStatus();
  return checked;
}

TEST(ScheduleRulesTest, WhatIsNotSaidHasItsDefault) {
  const Checked checked = CheckSchedule(GoodRequest().schedule());
  ASSERT_THAT(checked.status, IsOk());
  EXPECT_EQ(checked.settings.spec.time_zone, "Europe/Berlin");
  EXPECT_EQ(checked.settings.misfire_policy, MisfirePolicy::kLatest);
  EXPECT_EQ(checked.settings.misfire_limit, 100);
  EXPECT_EQ(checked.settings.catch_up_window, absl::Hours(24));
  EXPECT_EQ(checked.settings.overlap_policy, OverlapPolicy::kSkip);
  EXPECT_EQ(checked.settings.jitter, absl::ZeroDuration());
  EXPECT_EQ(checked.settings.task.max_attempts, 0);
}

TEST(ScheduleRulesTest, TimesGetThePrecisionThatIsStored) {
  pb::Schedule schedule = GoodRequest().schedule();
  schedule.mutable_spec()->mutable_interval()->mutable_every()->set_seconds(1);
  schedule.mutable_spec()->mutable_interval()->mutable_every()->set_nanos(1999);
  schedule.mutable_spec()->mutable_start_time()->set_nanos(1999);
  schedule.mutable_jitter()->set_nanos(1999);
  const Checked checked = CheckSchedule(schedule);
  ASSERT_THAT(checked.status, IsOk());
  EXPECT_EQ(checked.settings.spec.interval, absl::Microseconds(1'000'001));
  EXPECT_EQ(checked.settings.spec.start_time, absl::FromUnixMicros(1));
  EXPECT_EQ(checked.settings.jitter, absl::Microseconds(1));
}

struct RefusedCase {
  const char* field;
  std::function<void(pb::Schedule&)> spoil;
};

void PrintTo(const RefusedCase& test, std::ostream* out) { *out << test.field; }

void SetYear(google::protobuf::Timestamp& time, int year) {
  time.set_seconds(
      absl::ToUnixSeconds(absl::FromCivil(absl::CivilYear(year), absl::UTCTimeZone())));
}

const RefusedCase kRefusedCases[] = {
    {"schedule.name", [](auto& s) { s.set_name(std::string(129, 'x')); }},
    {"schedule.name", [](auto& s) { s.set_name(std::string("a\0b", 3)); }},
    {"schedule.spec.cron", [](auto& s) { s.mutable_spec()->clear_rule(); }},
    {"schedule.spec.cron", [](auto& s) { s.clear_spec(); }},
    {"schedule.spec.cron", [](auto& s) { s.mutable_spec()->set_cron(""); }},
    {"schedule.spec.cron", [](auto& s) { s.mutable_spec()->set_cron("0 0 30 2 *"); }},
    {"schedule.spec.cron",
     [](auto& s) { s.mutable_spec()->set_cron(std::string(300, ' ') + "@daily"); }},
    {"schedule.spec.interval.every", [](auto& s) { s.mutable_spec()->mutable_interval(); }},
    {"schedule.spec.interval.every",
     [](auto& s) {
       s.mutable_spec()->mutable_interval()->mutable_every()->set_nanos(999'999'999);
     }},
    {"schedule.spec.interval.every",
     [](auto& s) {
       s.mutable_spec()->mutable_interval()->mutable_every()->set_seconds(400'000'000);
     }},
    {"schedule.spec.interval.anchor_time",
     [](auto& s) {
       s.mutable_spec()->mutable_interval()->mutable_every()->set_seconds(1);
       SetYear(*s.mutable_spec()->mutable_interval()->mutable_anchor_time(), 2200);
     }},
    {"schedule.spec.time_zone", [](auto& s) { s.mutable_spec()->set_time_zone("Mars/Olympus"); }},
    {"schedule.spec.start_time",
     [](auto& s) { SetYear(*s.mutable_spec()->mutable_start_time(), 1969); }},
    {"schedule.spec.end_time",
     [](auto& s) { SetYear(*s.mutable_spec()->mutable_end_time(), 2200); }},
    {"schedule.spec.end_time",
     [](auto& s) {
       SetYear(*s.mutable_spec()->mutable_start_time(), 2030);
       SetYear(*s.mutable_spec()->mutable_end_time(), 2030);
     }},
    {"schedule.spec.end_time",
     [](auto& s) { s.mutable_spec()->mutable_end_time()->set_nanos(-1); }},
    {"schedule.task.queue", [](auto& s) { s.clear_task(); }},
    {"schedule.task.queue", [](auto& s) { s.mutable_task()->set_queue("parley.own"); }},
    {"schedule.task.name", [](auto& s) { s.mutable_task()->clear_name(); }},
    {"schedule.task.payload",
     [](auto& s) { s.mutable_task()->set_payload(std::string((std::size_t{1} << 20) + 1, 'x')); }},
    {"schedule.task.priority", [](auto& s) { s.mutable_task()->set_priority(10); }},
    {"schedule.task.max_attempts", [](auto& s) { s.mutable_task()->set_max_attempts(101); }},
    {"schedule.task.expire_after", [](auto& s) { s.mutable_task()->mutable_expire_after(); }},
    {"schedule.task.retry_policy.jitter",
     [](auto& s) { s.mutable_task()->mutable_retry_policy()->set_jitter(2); }},
    {"schedule.task.run_timeout",
     [](auto& s) { s.mutable_task()->mutable_run_timeout()->set_nanos(1); }},
    {"schedule.task.concurrency_key",
     [](auto& s) { s.mutable_task()->set_concurrency_key(std::string(129, 'k')); }},
    {"schedule.misfire_policy",
     [](auto& s) { s.set_misfire_policy(static_cast<pb::MisfirePolicy>(9)); }},
    {"schedule.misfire_limit", [](auto& s) { s.set_misfire_limit(1001); }},
    {"schedule.misfire_limit", [](auto& s) { s.set_misfire_limit(-1); }},
    {"schedule.catch_up_window", [](auto& s) { s.mutable_catch_up_window()->set_seconds(-1); }},
    {"schedule.catch_up_window",
     [](auto& s) { s.mutable_catch_up_window()->set_seconds(367 * 86400); }},
    {"schedule.overlap_policy",
     [](auto& s) { s.set_overlap_policy(static_cast<pb::OverlapPolicy>(9)); }},
    {"schedule.jitter", [](auto& s) { s.mutable_jitter()->set_seconds(86401); }},
    {"schedule.jitter", [](auto& s) { s.mutable_jitter()->set_nanos(-1); }},
};

class RefusedScheduleTest : public ::testing::TestWithParam<RefusedCase> {};

TEST_P(RefusedScheduleTest, IsRefusedWhenItIsCreatedAndWhenItIsChanged) {
  pb::UpdateScheduleRequest update;
  *update.mutable_schedule() = GoodRequest().schedule();
  GetParam().spoil(*update.mutable_schedule());
  EXPECT_THAT(CheckSchedule(update.schedule()).status, Violates(GetParam().field));
  update.mutable_update_mask()->add_paths("*");
  Violations violations;
  ScheduleChange change = ToChange(update, violations);
  PrepareChange("UTC", change, violations);
  EXPECT_THAT(violations.ToStatus(), Violates(GetParam().field));
}

INSTANTIATE_TEST_SUITE_P(Fields, RefusedScheduleTest, ::testing::ValuesIn(kRefusedCases));

TEST(ScheduleRulesTest, AnUpdateTakesWhatItsMaskNames) {
  pb::UpdateScheduleRequest update;
  *update.mutable_schedule() = GoodRequest().schedule();
  update.mutable_schedule()->set_misfire_limit(5);
  update.mutable_update_mask()->add_paths("misfire_limit");
  update.mutable_update_mask()->add_paths("name");
  Violations violations;
  const ScheduleChange change = ToChange(update, violations);
  EXPECT_TRUE(violations.empty());
  EXPECT_EQ(change.misfire_limit, 5);
  EXPECT_EQ(change.name, "");
  EXPECT_FALSE(change.spec);
  EXPECT_FALSE(change.task);
  EXPECT_FALSE(change.jitter);
  update.mutable_update_mask()->add_paths("counters");
  ToChange(update, violations);
  EXPECT_THAT(violations.ToStatus(), Violates("update_mask"));
}

TEST(ScheduleRulesTest, AnUpdateWithoutAMaskTakesWhatIsSet) {
  pb::UpdateScheduleRequest update;
  update.mutable_schedule()->mutable_task()->set_queue("q");
  update.mutable_schedule()->set_overlap_policy(pb::OVERLAP_POLICY_ALLOW);
  Violations violations;
  const ScheduleChange change = ToChange(update, violations);
  EXPECT_TRUE(change.task);
  EXPECT_EQ(change.overlap_policy, OverlapPolicy::kAllow);
  EXPECT_FALSE(change.name);
  EXPECT_FALSE(change.spec);
  EXPECT_FALSE(change.catch_up_window);
}

TEST(ScheduleRulesTest, ABackfillNeedsARangeThatEndsAfterItBegins) {
  const auto check = [](std::optional<absl::Time> start, std::optional<absl::Time> end,
                        std::int32_t limit) {
    BackfillRange range = {start, end, limit};
    Violations violations;
    PrepareBackfill(range, violations);
    return violations.ToStatus();
  };
  const absl::Time time = absl::FromUnixSeconds(1'800'000'000);
  EXPECT_THAT(check(time, time + absl::Seconds(1), 0), IsOk());
  EXPECT_THAT(check(std::nullopt, time, 0), Violates("start_time"));
  EXPECT_THAT(check(time, std::nullopt, 0), Violates("end_time"));
  EXPECT_THAT(check(time, time, 0), Violates("end_time"));
  EXPECT_THAT(check(absl::FromUnixSeconds(-1), time, 0), Violates("start_time"));
  EXPECT_THAT(check(time, time + absl::Seconds(1), -1), Violates("limit"));
  BackfillRange range = {time, time + absl::Seconds(1), 5000};
  Violations violations;
  PrepareBackfill(range, violations);
  EXPECT_EQ(range.limit, 1000);
}

TEST(ScheduleRulesTest, TheSameRequestHasTheSameFingerprint) {
  pb::CreateScheduleRequest request = GoodRequest();
  for (const char* name : {"a", "b", "c", "d"}) {
    (*request.mutable_schedule()->mutable_task()->mutable_headers())[name] = "x";
  }
  pb::CreateScheduleRequest twin = GoodRequest();
  for (const char* name : {"d", "c", "b", "a"}) {
    (*twin.mutable_schedule()->mutable_task()->mutable_headers())[name] = "x";
  }
  twin.set_request_id("another");
  EXPECT_EQ(FingerprintOf(request), FingerprintOf(twin));
  (*twin.mutable_schedule()->mutable_task()->mutable_headers())["d"] = "y";
  EXPECT_NE(FingerprintOf(request), FingerprintOf(twin));
}

}  // namespace
}  // namespace parley::scheduler
