#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/cron.h"
#include "tests/support/status_matchers.h"

namespace parley {
namespace {

using ::testing::HasSubstr;

absl::Time CronTime(const std::string& text) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, &error)) << text << error;
  return time;
}

// The next `count` occurrences as clocks in the zone show them, with their offsets, and with '!'
// behind those that were shifted and '?' behind those that are ambiguous.
std::string Upcoming(const std::string& expression, const std::string& zone_name,
                     const std::string& after, int count) {
  const auto cron = CronExpression::Parse(expression);
  if (!cron.ok()) return std::string(cron.status().message());
  absl::TimeZone zone;
  EXPECT_TRUE(absl::LoadTimeZone(zone_name, &zone));
  std::vector<std::string> shown;
  absl::Time time = CronTime(after);
  for (int i = 0; i < count; ++i) {
    const auto next = cron->Next(time, zone);
    if (!next) return "never";
    time = next->time;
    const char* mark = next->resolution == LocalTimeResolution::kShifted     ? "!"
                       : next->resolution == LocalTimeResolution::kAmbiguous ? "?"
                                                                             : "";
    shown.push_back(absl::StrCat(absl::FormatTime("%Y-%m-%d %H:%M:%S %z", time, zone), mark));
  }
  return absl::StrJoin(shown, ", ");
}

struct FieldCase {
  const char* expression;
  const char* upcoming;  // in UTC, after Friday 2026-05-15T10:20:30Z, without the offset
};

void PrintTo(const FieldCase& test, std::ostream* out) { *out << test.expression; }

constexpr FieldCase kFieldCases[] = {
    {"* * * * *", "2026-05-15 10:21:00, 2026-05-15 10:22:00"},
    {"* * * * * *", "2026-05-15 10:20:31, 2026-05-15 10:20:32"},
    {"*/20 * * * * *", "2026-05-15 10:20:40, 2026-05-15 10:21:00"},
    {"15,45 20 10 * * *", "2026-05-15 10:20:45, 2026-05-16 10:20:15"},
    {"20 10 * * *", "2026-05-16 10:20:00, 2026-05-17 10:20:00"},
    {"30 20 10 * * *", "2026-05-16 10:20:30, 2026-05-17 10:20:30"},
    {"*/15 * * * *", "2026-05-15 10:30:00, 2026-05-15 10:45:00"},
    {"10-30/10 9-17 * * *", "2026-05-15 10:30:00, 2026-05-15 11:10:00"},
    {"0 9-17/4 * * *", "2026-05-15 13:00:00, 2026-05-15 17:00:00"},
    {"0,5,10 22 * * *", "2026-05-15 22:00:00, 2026-05-15 22:05:00"},
    {"0 0 31 * *", "2026-05-31 00:00:00, 2026-07-31 00:00:00"},
    {"0 0 29 2 *", "2028-02-29 00:00:00, 2032-02-29 00:00:00"},
    {"0 0 29 2 */7", "2032-02-29 00:00:00, 2060-02-29 00:00:00"},
    {"0 0 1 JAN,jul *", "2026-07-01 00:00:00, 2027-01-01 00:00:00"},
    {"0 0 * MAR-JUN *", "2026-05-16 00:00:00, 2026-05-17 00:00:00"},
    {"0 0 * * MON", "2026-05-18 00:00:00, 2026-05-25 00:00:00"},
    {"0 0 * * 0", "2026-05-17 00:00:00, 2026-05-24 00:00:00"},
    {"0 0 * * 7", "2026-05-17 00:00:00, 2026-05-24 00:00:00"},
    {"0 0 * * sat-sun", "2026-05-16 00:00:00, 2026-05-17 00:00:00"},
    {"0 0 * * 5-7", "2026-05-16 00:00:00, 2026-05-17 00:00:00"},
    {"0 0 * * */3", "2026-05-16 00:00:00, 2026-05-17 00:00:00"},
    // Either of two restricted day fields will do...
    {"0 0 20 * MON", "2026-05-18 00:00:00, 2026-05-20 00:00:00"},
    {"0 0 30 2 MON", "2027-02-01 00:00:00, 2027-02-08 00:00:00"},
    // ... but one that begins with * is not restricted.
    {"0 0 */10 * MON", "2026-06-01 00:00:00, 2026-08-31 00:00:00"},
    {"0 0 *,20 * MON", "2026-05-18 00:00:00, 2026-05-25 00:00:00"},
    {"@yearly", "2027-01-01 00:00:00, 2028-01-01 00:00:00"},
    {"@annually", "2027-01-01 00:00:00, 2028-01-01 00:00:00"},
    {"@monthly", "2026-06-01 00:00:00, 2026-07-01 00:00:00"},
    {"@weekly", "2026-05-17 00:00:00, 2026-05-24 00:00:00"},
    {"@daily", "2026-05-16 00:00:00, 2026-05-17 00:00:00"},
    {"@Midnight", "2026-05-16 00:00:00, 2026-05-17 00:00:00"},
    {"@hourly", "2026-05-15 11:00:00, 2026-05-15 12:00:00"},
    {"  0\t0  1 * * ", "2026-06-01 00:00:00, 2026-07-01 00:00:00"},
};

class CronFieldCase : public ::testing::TestWithParam<FieldCase> {};

TEST_P(CronFieldCase, SaysWhen) {
  std::string upcoming = Upcoming(GetParam().expression, "UTC", "2026-05-15T10:20:30Z", 2);
  for (std::size_t at = 0; (at = upcoming.find(" +0000")) != std::string::npos;) {
    upcoming.erase(at, 6);
  }
  EXPECT_EQ(upcoming, GetParam().upcoming);
}

INSTANTIATE_TEST_SUITE_P(Fields, CronFieldCase, ::testing::ValuesIn(kFieldCases));

struct ChangeCase {
  const char* expression;
  const char* zone;
  const char* after;
  const char* upcoming;  // two of them
};

void PrintTo(const ChangeCase& test, std::ostream* out) {
  *out << test.expression << " " << test.zone << " " << test.after;
}

constexpr ChangeCase kChangeCases[] = {
    // Berlin leaves out 02:00-03:00 on 2026-03-29. A daily job runs, shifted; an hourly one does
    // not
    // notice.
    {"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
     "2026-03-29 03:30:00 +0200!, 2026-03-30 02:30:00 +0200"},
    {"30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z",
     "2026-03-29 01:30:00 +0100, 2026-03-29 03:30:00 +0200"},
    {"30 */2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z",
     "2026-03-29 04:30:00 +0200, 2026-03-29 06:30:00 +0200"},
    // A shifted time that another one has already is no second run.
    {"30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z",
     "2026-03-29 03:30:00 +0200, 2026-03-30 02:30:00 +0200"},
    // Shifted times come in the order of their instants.
    {"10,40 2 29 3 *", "Europe/Berlin", "2026-03-29T01:10:00Z",
     "2026-03-29 03:40:00 +0200!, 2027-03-29 02:10:00 +0200"},
    {"50 2-3 29 3 *", "Europe/Berlin", "2026-03-29T01:20:00Z",
     "2026-03-29 03:50:00 +0200, 2027-03-29 02:50:00 +0200"},
    {"15 2 29 3 *", "Europe/Berlin", "2026-03-29T01:14:59.999999Z",
     "2026-03-29 03:15:00 +0200!, 2027-03-29 02:15:00 +0200"},
    {"15 2 29 3 *", "Europe/Berlin", "2026-03-29T01:15:00Z",
     "2027-03-29 02:15:00 +0200, 2028-03-29 02:15:00 +0200"},
    // Berlin shows 02:00-03:00 twice on 2026-10-25.
    {"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
     "2026-10-25 02:30:00 +0200?, 2026-10-26 02:30:00 +0100"},
    {"30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z",
     "2026-10-26 02:30:00 +0100, 2026-10-27 02:30:00 +0100"},
    {"30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z",
     "2026-10-25 02:30:00 +0200?, 2026-10-25 02:30:00 +0100?"},
    {"0 0-23 * * *", "Europe/Berlin", "2026-10-24T23:30:00Z",
     "2026-10-25 02:00:00 +0200?, 2026-10-25 02:00:00 +0100?"},
    {"0 0-22 * * *", "Europe/Berlin", "2026-10-24T23:30:00Z",
     "2026-10-25 02:00:00 +0200?, 2026-10-25 03:00:00 +0100"},
    {"0 * 2 * * *", "Europe/Berlin", "2026-10-25T00:58:30Z",
     "2026-10-25 02:59:00 +0200?, 2026-10-26 02:00:00 +0100"},
    {"* 2 * * *", "Europe/Berlin", "2026-03-29T00:30:00Z",
     "2026-03-29 03:00:00 +0200!, 2026-03-29 03:01:00 +0200!"},
    // Half an hour at Lord Howe, at 02:00 both ways.
    {"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z",
     "2026-10-04 02:45:00 +1100!, 2026-10-05 02:15:00 +1100"},
    {"45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:40:00Z",
     "2026-04-05 01:45:00 +1100?, 2026-04-05 01:45:00 +1030?"},
    {"*/30 * * * *", "Australia/Lord_Howe", "2026-10-03T15:00:00Z",
     "2026-10-04 02:30:00 +1100, 2026-10-04 03:00:00 +1100"},
    // Chatham, at 02:45.
    {"0 3 * * *", "Pacific/Chatham", "2026-09-26T00:00:00Z",
     "2026-09-27 04:00:00 +1345!, 2026-09-28 03:00:00 +1345"},
    // Two hours at Troll.
    {"30 2 * * *", "Antarctica/Troll", "2026-03-28T12:00:00Z",
     "2026-03-29 04:30:00 +0200!, 2026-03-30 02:30:00 +0200"},
    // Midnight is left out in Santiago, and comes twice in Havana.
    {"@daily", "America/Santiago", "2026-09-05T12:00:00Z",
     "2026-09-06 01:00:00 -0300!, 2026-09-07 00:00:00 -0300"},
    {"@daily", "America/Havana", "2026-10-31T12:00:00Z",
     "2026-11-01 00:00:00 -0400?, 2026-11-02 00:00:00 -0500"},
    // Nuuk leaves out the last hour of a Saturday: it runs on Sunday.
    {"30 23 * * SAT", "America/Nuuk", "2026-03-28T00:00:00Z",
     "2026-03-29 00:30:00 -0100!, 2026-04-04 23:30:00 -0100"},
    // Apia left out a day.
    {"0 12 * * *", "Pacific/Apia", "2011-12-29T23:00:00Z",
     "2011-12-31 12:00:00 +1400, 2012-01-01 12:00:00 +1400"},
};

class CronChangeCase : public ::testing::TestWithParam<ChangeCase> {};

TEST_P(CronChangeCase, FollowsTheRule) {
  const ChangeCase& test = GetParam();
  EXPECT_EQ(Upcoming(test.expression, test.zone, test.after, 2), test.upcoming);
}

INSTANTIATE_TEST_SUITE_P(Changes, CronChangeCase, ::testing::ValuesIn(kChangeCases));

TEST(CronExpressionTest, LooksNoFurtherThanTheChangesOfZonesAreKnown) {
  EXPECT_EQ(Upcoming("0 0 1 1 *", "Europe/Berlin", "2399-06-01T00:00:00Z", 1), "never");
  EXPECT_EQ(Upcoming("0 0 1 1 *", "Europe/Berlin", "2398-06-01T00:00:00Z", 1),
            "2399-01-01 00:00:00 +0100");
}

struct ErrorCase {
  const char* expression;
  const char* part_of_message;
};

TEST(CronExpressionTest, RefusesWhatItDoesNotUnderstandAndSaysWhere) {
  constexpr ErrorCase kCases[] = {
      {"", "five fields"},
      {"* * * *", "has 4"},
      {"* * * * * * *", "has 7"},
      {"60 * * * *", "\"60\" (minute)"},
      {"* 24 * * *", "\"24\" (hour)"},
      {"* * 0 * *", "\"0\" (day of month)"},
      {"* * 32 * *", "\"32\" (day of month)"},
      {"* * * 13 *", "\"13\" (month)"},
      {"* * * 0 *", "\"0\" (month)"},
      {"* * * * 8", "\"8\" (day of week)"},
      {"* * * MON *", "\"MON\" (month)"},
      {"* * * * JAN", "\"JAN\" (day of week)"},
      {"* * * * MONDAY", "\"MONDAY\" (day of week)"},
      {"60 * * * * *", "\"60\" (second)"},
      {"-1 * * * *", "\"-1\" (minute)"},
      {"1- * * * *", "\"1-\" (minute)"},
      {"1-2-3 * * * *", "\"1-2-3\" (minute)"},
      {"30-10 * * * *", "ends before it begins"},
      {"* * * * FRI-MON", "ends before it begins"},
      {"1,,2 * * * *", "\"1,,2\" (minute)"},
      {"1, * * * *", "\"1,\" (minute)"},
      {"*/0 * * * *", "step"},
      {"*/60 * * * *", "step that is not a number from 1 to 59"},
      {"* */24 * * *", "step that is not a number from 1 to 23"},
      {"*/ * * * *", "step"},
      {"*/x * * * *", "step"},
      {"*/5/5 * * * *", "step"},
      {"5/15 * * * *", "steps need * or a range"},
      {"*5 * * * *", "\"*5\" (minute)"},
      {"**  * * * *", "\"**\" (minute)"},
      {"* * L * *", "\"L\" (day of month)"},
      {"* * ? * *", "\"?\" (day of month)"},
      {"* * * * MON#2", "\"MON#2\" (day of week)"},
      {"1.5 * * * *", "\"1.5\" (minute)"},
      {"0x1 * * * *", "\"0x1\" (minute)"},
      {"+1 * * * *", "\"+1\" (minute)"},
      {"1000 * * * *", "\"1000\" (minute)"},
      {"99999999999999999999 * * * *", "(minute)"},
      {"@reboot", "@hourly"},
      {"@every 5m", "@hourly"},
      {"@daily * * * *", "@hourly"},
      {"0 0 30 2 *", "never happens"},
      {"0 0 31 2,4,6,9,11 *", "never happens"},
      {"0 0 31 APR */2", "never happens"},
  };
  for (const ErrorCase& test : kCases) {
    const auto cron = CronExpression::Parse(test.expression);
    ASSERT_FALSE(cron.ok()) << test.expression;
    EXPECT_EQ(cron.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(cron.status().message()), HasSubstr(test.part_of_message))
        << test.expression;
  }
}

}  // namespace
}  // namespace parley
