#include "services/message/schedule_convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "services/message/schedule_rules.h"
#include "tests/support/status_matchers.h"

namespace parley::message {
namespace {

using parley::testing::Violates;

v1::ScheduleMessageRequest At(const std::string& date_time, const std::string& zone) {
  v1::ScheduleMessageRequest request;
  request.mutable_local_time()->set_date_time(date_time);
  request.mutable_local_time()->set_time_zone(zone);
  return request;
}

TEST(SendTimeOf, ResolvesALocalTimeInItsZoneOrTheServers) {
  Violations violations;
  const SendTime gap = SendTimeOf(At("2027-03-28T02:30:00", "Europe/Berlin"), "UTC", violations);
  EXPECT_EQ(gap.local_time->resolution, LocalTimeResolution::kShifted);
  EXPECT_EQ(absl::FormatTime(absl::RFC3339_sec, gap.instant, absl::UTCTimeZone()),
            "2027-03-28T01:30:00+00:00");
  const SendTime fold = SendTimeOf(At("2027-10-31T02:30:00", ""), "Europe/Berlin", violations);
  EXPECT_EQ(fold.local_time->resolution, LocalTimeResolution::kAmbiguous);
  EXPECT_EQ(fold.local_time->time_zone, "Europe/Berlin");
  EXPECT_TRUE(violations.empty());
}

TEST(SendTimeOf, WantsATime) {
  Violations none;
  SendTimeOf({}, "UTC", none);
  EXPECT_THAT(none.ToStatus(), Violates("run_time"));
  Violations out_of_range;
  v1::ScheduleMessageRequest request;
  request.mutable_run_time()->set_nanos(-1);
  SendTimeOf(request, "UTC", out_of_range);
  EXPECT_THAT(out_of_range.ToStatus(), Violates("run_time"));
  Violations no_zone;
  SendTimeOf(At("noon", "Mars/Phobos"), "UTC", no_zone);
  EXPECT_THAT(no_zone.ToStatus(), Violates("local_time.date_time"));
  EXPECT_THAT(no_zone.ToStatus(), Violates("local_time.time_zone"));
}

TEST(FingerprintOf, TellsWhatWasAskedForApart) {
  v1::ScheduleMessageRequest request = At("2027-03-28T02:30:00", "Europe/Berlin");
  const std::string first = FingerprintOf(request);
  EXPECT_EQ(FingerprintOf(request), first);
  request.mutable_local_time()->set_time_zone("");
  EXPECT_NE(FingerprintOf(request), first);
  request = At("2027-03-28T02:30:00", "Europe/Berlin");
  request.set_reply_to_seq(1);
  EXPECT_NE(FingerprintOf(request), first);
}

TEST(ScheduledMessageToProto, KeepsEverything) {
  ScheduledMessage scheduled{.id = 1,
                             .chat_id = 2,
                             .user_id = 3,
                             .text = "t",
                             .reply_to_seq = 4,
                             .run_time = absl::FromUnixSeconds(5),
                             .resolution = LocalTimeResolution::kUnique,
                             .state = ScheduledMessageState::kFailed,
                             .task_id = 6,
                             .failure_reason = "NOT_A_MEMBER"};
  const v1::ScheduledMessage proto = ToProto(scheduled);
  EXPECT_EQ(proto.id(), 1);
  EXPECT_EQ(proto.chat_id(), 2);
  EXPECT_EQ(proto.user_id(), 3);
  EXPECT_EQ(proto.reply_to_seq(), 4);
  EXPECT_EQ(proto.run_time().seconds(), 5);
  EXPECT_EQ(proto.local_time_resolution(), scheduler::v1::LOCAL_TIME_RESOLUTION_UNIQUE);
  EXPECT_EQ(proto.state(), v1::SCHEDULED_MESSAGE_STATE_FAILED);
  EXPECT_EQ(proto.failure_reason(), "NOT_A_MEMBER");
  scheduled.resolution.reset();
  EXPECT_EQ(ToProto(scheduled).local_time_resolution(),
            scheduler::v1::LOCAL_TIME_RESOLUTION_UNSPECIFIED);
}

TEST(FilterFromProto, RefusesNumbersThatAreNone) {
  Violations violations;
  FilterFromProto(static_cast<v1::ScheduledMessageState>(99), violations);
  EXPECT_THAT(violations.ToStatus(), Violates("state"));
}

TEST(IsWorthRetrying, IsWhatMayPass) {
  for (const auto code : {absl::StatusCode::kUnavailable, absl::StatusCode::kDeadlineExceeded,
                          absl::StatusCode::kAborted, absl::StatusCode::kUnknown,
                          absl::StatusCode::kResourceExhausted, absl::StatusCode::kInternal}) {
    EXPECT_TRUE(IsWorthRetrying(absl::Status(code, ""))) << code;
  }
  for (const auto code : {absl::StatusCode::kNotFound, absl::StatusCode::kPermissionDenied,
                          absl::StatusCode::kAlreadyExists, absl::StatusCode::kInvalidArgument,
                          absl::StatusCode::kFailedPrecondition}) {
    EXPECT_FALSE(IsWorthRetrying(absl::Status(code, ""))) << code;
  }
}

}  // namespace
}  // namespace parley::message
