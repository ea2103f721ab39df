#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/local_time.h"
#include "tests/support/status_matchers.h"

namespace parley {
namespace {

using ::parley::testing::Violates;

constexpr LocalTimeResolution kUnique = LocalTimeResolution::kUnique;
constexpr LocalTimeResolution kShifted = LocalTimeResolution::kShifted;
constexpr LocalTimeResolution kAmbiguous = LocalTimeResolution::kAmbiguous;

struct Case {
  const char* zone;
  const char* date_time;
  LocalTimeResolution resolution;
  const char* first;   // the instant with FOLD_FIRST and GAP_SHIFT
  const char* second;  // with FOLD_SECOND
};

void PrintTo(const Case& test, std::ostream* out) { *out << test.zone << " " << test.date_time; }

// Before, at, in and after the changes of 2026: half an hour at Lord Howe, three quarters past the
// hour at Chatham, two hours at Troll; and the day that Apia left out.
constexpr Case kCases[] = {
    {"Australia/Lord_Howe", "2026-01-15T12:00:00", kUnique, "2026-01-15T01:00:00Z",
     "2026-01-15T01:00:00Z"},
    {"Australia/Lord_Howe", "2026-04-05T01:29:59", kUnique, "2026-04-04T14:29:59Z",
     "2026-04-04T14:29:59Z"},
    {"Australia/Lord_Howe", "2026-04-05T01:30:00", kAmbiguous, "2026-04-04T14:30:00Z",
     "2026-04-04T15:00:00Z"},
    {"Australia/Lord_Howe", "2026-04-05T01:45:00", kAmbiguous, "2026-04-04T14:45:00Z",
     "2026-04-04T15:15:00Z"},
    {"Australia/Lord_Howe", "2026-04-05T01:59:59", kAmbiguous, "2026-04-04T14:59:59Z",
     "2026-04-04T15:29:59Z"},
    {"Australia/Lord_Howe", "2026-04-05T02:00:00", kUnique, "2026-04-04T15:30:00Z",
     "2026-04-04T15:30:00Z"},
    {"Australia/Lord_Howe", "2026-10-04T01:59:59", kUnique, "2026-10-03T15:29:59Z",
     "2026-10-03T15:29:59Z"},
    {"Australia/Lord_Howe", "2026-10-04T02:00:00", kShifted, "2026-10-03T15:30:00Z",
     "2026-10-03T15:30:00Z"},
    {"Australia/Lord_Howe", "2026-10-04T02:15:00", kShifted, "2026-10-03T15:45:00Z",
     "2026-10-03T15:45:00Z"},
    {"Australia/Lord_Howe", "2026-10-04T02:29:59", kShifted, "2026-10-03T15:59:59Z",
     "2026-10-03T15:59:59Z"},
    {"Australia/Lord_Howe", "2026-10-04T02:30:00", kUnique, "2026-10-03T15:30:00Z",
     "2026-10-03T15:30:00Z"},
    {"Pacific/Chatham", "2026-06-15T12:00:00", kUnique, "2026-06-14T23:15:00Z",
     "2026-06-14T23:15:00Z"},
    {"Pacific/Chatham", "2026-04-05T02:44:59", kUnique, "2026-04-04T12:59:59Z",
     "2026-04-04T12:59:59Z"},
    {"Pacific/Chatham", "2026-04-05T02:45:00", kAmbiguous, "2026-04-04T13:00:00Z",
     "2026-04-04T14:00:00Z"},
    {"Pacific/Chatham", "2026-04-05T03:00:00", kAmbiguous, "2026-04-04T13:15:00Z",
     "2026-04-04T14:15:00Z"},
    {"Pacific/Chatham", "2026-04-05T03:44:59", kAmbiguous, "2026-04-04T13:59:59Z",
     "2026-04-04T14:59:59Z"},
    {"Pacific/Chatham", "2026-04-05T03:45:00", kUnique, "2026-04-04T15:00:00Z",
     "2026-04-04T15:00:00Z"},
    {"Pacific/Chatham", "2026-09-27T02:44:59", kUnique, "2026-09-26T13:59:59Z",
     "2026-09-26T13:59:59Z"},
    {"Pacific/Chatham", "2026-09-27T02:45:00", kShifted, "2026-09-26T14:00:00Z",
     "2026-09-26T14:00:00Z"},
    {"Pacific/Chatham", "2026-09-27T03:15:00", kShifted, "2026-09-26T14:30:00Z",
     "2026-09-26T14:30:00Z"},
    {"Pacific/Chatham", "2026-09-27T03:44:59", kShifted, "2026-09-26T14:59:59Z",
     "2026-09-26T14:59:59Z"},
    {"Pacific/Chatham", "2026-09-27T03:45:00", kUnique, "2026-09-26T14:00:00Z",
     "2026-09-26T14:00:00Z"},
    {"Antarctica/Troll", "2026-06-15T12:00:00", kUnique, "2026-06-15T10:00:00Z",
     "2026-06-15T10:00:00Z"},
    {"Antarctica/Troll", "2026-10-25T00:59:59", kUnique, "2026-10-24T22:59:59Z",
     "2026-10-24T22:59:59Z"},
    {"Antarctica/Troll", "2026-10-25T01:00:00", kAmbiguous, "2026-10-24T23:00:00Z",
     "2026-10-25T01:00:00Z"},
    {"Antarctica/Troll", "2026-10-25T02:00:00", kAmbiguous, "2026-10-25T00:00:00Z",
     "2026-10-25T02:00:00Z"},
    {"Antarctica/Troll", "2026-10-25T02:59:59", kAmbiguous, "2026-10-25T00:59:59Z",
     "2026-10-25T02:59:59Z"},
    {"Antarctica/Troll", "2026-10-25T03:00:00", kUnique, "2026-10-25T03:00:00Z",
     "2026-10-25T03:00:00Z"},
    {"Antarctica/Troll", "2026-03-29T00:59:59", kUnique, "2026-03-29T00:59:59Z",
     "2026-03-29T00:59:59Z"},
    {"Antarctica/Troll", "2026-03-29T01:00:00", kShifted, "2026-03-29T01:00:00Z",
     "2026-03-29T01:00:00Z"},
    {"Antarctica/Troll", "2026-03-29T02:00:00", kShifted, "2026-03-29T02:00:00Z",
     "2026-03-29T02:00:00Z"},
    {"Antarctica/Troll", "2026-03-29T02:59:59", kShifted, "2026-03-29T02:59:59Z",
     "2026-03-29T02:59:59Z"},
    {"Antarctica/Troll", "2026-03-29T03:00:00", kUnique, "2026-03-29T01:00:00Z",
     "2026-03-29T01:00:00Z"},
    {"Europe/Berlin", "2026-03-29T02:30:00", kShifted, "2026-03-29T01:30:00Z",
     "2026-03-29T01:30:00Z"},
    {"Europe/Berlin", "2026-10-25T02:30:00", kAmbiguous, "2026-10-25T00:30:00Z",
     "2026-10-25T01:30:00Z"},
    {"Pacific/Apia", "2011-12-30T12:00:00", kShifted, "2011-12-30T22:00:00Z",
     "2011-12-30T22:00:00Z"},
    {"UTC", "2026-03-29T02:30:00", kUnique, "2026-03-29T02:30:00Z", "2026-03-29T02:30:00Z"},
};

LocalTime Local(const std::string& zone, const std::string& date_time) {
  LocalTime local;
  local.time_zone = zone;
  local.date_time = date_time;
  return local;
}

std::string AsUtc(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", time, absl::UTCTimeZone());
}

// What was wrong with a local time.
absl::Status Refusal(const LocalTime& local) {
  Violations violations;
  const bool resolved = ResolveLocalTime(local, "UTC", violations).has_value();
  EXPECT_EQ(resolved, violations.empty());
  return violations.ToStatus();
}

class LocalTimeCase : public ::testing::TestWithParam<Case> {};

TEST_P(LocalTimeCase, IsResolvedByThePolicies) {
  const Case& test = GetParam();
  LocalTime local = Local(test.zone, test.date_time);
  for (const FoldPolicy fold : {FoldPolicy::kFirst, FoldPolicy::kSecond}) {
    local.fold_policy = fold;
    Violations violations;
    const auto resolved = ResolveLocalTime(local, "UTC", violations);
    ASSERT_TRUE(resolved) << violations.ToStatus();
    EXPECT_EQ(resolved->local_time.resolution, test.resolution);
    EXPECT_EQ(AsUtc(resolved->instant), fold == FoldPolicy::kFirst ? test.first : test.second);
  }
}

TEST_P(LocalTimeCase, IsRefusedOnlyIfItsPolicySaysSo) {
  const Case& test = GetParam();
  LocalTime local = Local(test.zone, test.date_time);
  local.gap_policy = GapPolicy::kReject;
  EXPECT_EQ(Refusal(local).ok(), test.resolution != kShifted);
  local.gap_policy = GapPolicy::kShift;
  local.fold_policy = FoldPolicy::kReject;
  EXPECT_EQ(Refusal(local).ok(), test.resolution != kAmbiguous);
}

INSTANTIATE_TEST_SUITE_P(Changes, LocalTimeCase, ::testing::ValuesIn(kCases));

TEST(LocalTimeTest, KeepsAFractionOfUpToSixDigits) {
  for (const auto& [fraction, expected] :
       {std::pair(".5", "0.5"), std::pair(".000001", "0.000001"), std::pair(".120", "0.12")}) {
    Violations violations;
    const auto resolved = ResolveLocalTime(
        Local("Europe/Berlin", absl::StrCat("2026-01-01T00:00:00", fraction)), "UTC", violations);
    ASSERT_TRUE(resolved) << fraction;
    EXPECT_EQ(AsUtc(resolved->instant), absl::StrCat("2025-12-31T23:00:0", expected, "Z"));
  }
}

TEST(LocalTimeTest, TakesTheServersZoneWhereNoneIsNamed) {
  Violations violations;
  const auto resolved =
      ResolveLocalTime(Local("", "2026-07-01T12:00:00"), "Europe/Berlin", violations);
  ASSERT_TRUE(resolved);
  EXPECT_EQ(resolved->local_time.time_zone, "Europe/Berlin");
  EXPECT_EQ(AsUtc(resolved->instant), "2026-07-01T10:00:00Z");
}

TEST(LocalTimeTest, RefusesWhatIsNoDateAndTime) {
  for (const char* date_time : {"",
                                "2026-01-01",
                                "2026-01-01 00:00:00",
                                "2026-01-01T00:00",
                                "2026-1-01T00:00:00",
                                "2026-01-01T00:00:00Z",
                                "2026-01-01T00:00:00+01:00",
                                "2026-01-01T00:00:00.",
                                "2026-01-01T00:00:00.1234567",
                                "2026-01-01T00:00:00,5",
                                "2026-02-29T00:00:00",
                                "2026-13-01T00:00:00",
                                "2026-00-01T00:00:00",
                                "2026-01-32T00:00:00",
                                "2026-01-01T24:00:00",
                                "2026-01-01T23:60:00",
                                "2026-01-01T23:59:60",
                                "0000-01-01T00:00:00",
                                "+026-01-01T00:00:00",
                                " 2026-01-01T00:00:00",
                                "2026-01-01T00:00:00 ",
                                "2026-01-01T00:00:00.-1"}) {
    EXPECT_THAT(Refusal(Local("UTC", date_time)), Violates("local_time.date_time")) << date_time;
  }
}

TEST(LocalTimeTest, RefusesInstantsThatATimestampCannotSay) {
  EXPECT_THAT(Refusal(Local("America/New_York", "9999-12-31T23:59:59")),
              Violates("local_time.date_time"));
  EXPECT_THAT(Refusal(Local("Asia/Tokyo", "0001-01-01T00:00:00")),
              Violates("local_time.date_time"));
}

TEST(LocalTimeTest, RefusesWhatIsNoIanaZone) {
  for (const char* zone :
       {"Mars/Olympus", "localtime", "posixrules", "Fixed/UTC+01:00:00", "/etc/localtime",
        "../zoneinfo/UTC", "posix/UTC", "right/UTC", "Europe/", "Europe//Berlin", "Europe",
        "CET-1CEST", "zone.tab", "leapseconds", "tzdata.zi", "europe berlin", ":UTC", "UTC\n"}) {
    EXPECT_THAT(Refusal(Local(zone, "2026-01-01T00:00:00")), Violates("local_time.time_zone"))
        << zone;
  }
}

TEST(LocalTimeTest, TellsAllThatIsWrong) {
  const absl::Status refusal = Refusal(Local("Mars/Olympus", "soon"));
  EXPECT_THAT(refusal, Violates("local_time.date_time"));
  EXPECT_THAT(refusal, Violates("local_time.time_zone"));
}

}  // namespace
}  // namespace parley
