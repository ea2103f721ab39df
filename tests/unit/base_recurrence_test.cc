#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/recurrence.h"

namespace parley {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

absl::Time RecurrenceAt(const std::string& text) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, &error)) << error;
  return time;
}

std::vector<absl::Time> TimesOf(const std::vector<Occurrence>& occurrences) {
  std::vector<absl::Time> times;
  for (const Occurrence& occurrence : occurrences) times.push_back(occurrence.time);
  return times;
}

TEST(RecurrenceTest, AnIntervalCountsElapsedTimeFromItsAnchor) {
  const absl::Time anchor = RecurrenceAt("2026-01-01T00:00:00.25Z");
  const Recurrence every = {absl::Seconds(90), anchor};
  EXPECT_EQ(every.Next(anchor - absl::Microseconds(1))->time, anchor);
  EXPECT_EQ(every.Next(anchor)->time, anchor + absl::Seconds(90));
  EXPECT_EQ(every.Next(anchor + absl::Seconds(89))->time, anchor + absl::Seconds(90));
  EXPECT_EQ(every.Next(anchor + absl::Seconds(90))->time, anchor + absl::Seconds(180));
  EXPECT_EQ(every.Next(anchor)->resolution, LocalTimeResolution::kUnique);
}

TEST(RecurrenceTest, AnIntervalDoesNotBeginBeforeItsAnchor) {
  const absl::Time anchor = RecurrenceAt("2026-01-01T00:00:00Z");
  EXPECT_EQ(Recurrence(absl::Seconds(1), anchor).Next(anchor - absl::Hours(24 * 365))->time,
            anchor);
}

TEST(RecurrenceTest, AnIntervalKeepsItsGridOverCenturies) {
  const absl::Time anchor = RecurrenceAt("1970-01-01T00:00:00Z");
  const Recurrence every = {absl::Microseconds(1'000'001), anchor};
  const absl::Time next = every.Next(RecurrenceAt("2370-01-01T00:00:00Z"))->time;
  EXPECT_EQ((next - anchor) % absl::Microseconds(1'000'001), absl::ZeroDuration());
  EXPECT_LT(next - RecurrenceAt("2370-01-01T00:00:00Z"), absl::Microseconds(1'000'002));
}

TEST(RecurrenceTest, ARangeLeavesOutItsBeginningAndKeepsItsEnd) {
  const absl::Time anchor = RecurrenceAt("2026-01-01T00:00:00Z");
  const Recurrence every = {absl::Seconds(10), anchor};
  const absl::Time end = anchor + absl::Seconds(30);
  EXPECT_THAT(TimesOf(every.First(anchor, end, 100)),
              ElementsAre(anchor + absl::Seconds(10), anchor + absl::Seconds(20), end));
  EXPECT_THAT(TimesOf(every.First(anchor, end, 2)),
              ElementsAre(anchor + absl::Seconds(10), anchor + absl::Seconds(20)));
  EXPECT_THAT(TimesOf(every.Last(anchor, end, 2)), ElementsAre(anchor + absl::Seconds(20), end));
  EXPECT_THAT(TimesOf(every.Last(anchor, end, 0)), IsEmpty());
  EXPECT_EQ(every.Count(anchor, end), 3);
  EXPECT_EQ(every.Count(anchor - absl::Seconds(60), end), 4);
  EXPECT_EQ(every.Count(end, anchor), 0);
  EXPECT_THAT(every.First(anchor, anchor + absl::Seconds(9), 100), IsEmpty());
}

TEST(RecurrenceTest, LimitsLeaveOutWhatIsBeforeOrAfterThem) {
  const absl::Time anchor = RecurrenceAt("2026-01-01T00:00:00Z");
  Recurrence every = {absl::Seconds(10), anchor};
  every.Limit(anchor + absl::Seconds(20), anchor + absl::Seconds(40));
  const absl::Time far = anchor + absl::Hours(1);
  const auto both = ElementsAre(anchor + absl::Seconds(20), anchor + absl::Seconds(30));
  EXPECT_THAT(TimesOf(every.First(absl::UnixEpoch(), far, 100)), both);
  EXPECT_THAT(TimesOf(every.Last(absl::UnixEpoch(), far, 100)), both);
  EXPECT_EQ(every.Count(absl::UnixEpoch(), far), 2);
  EXPECT_EQ(every.Next(anchor + absl::Seconds(30)), std::nullopt);
}

TEST(RecurrenceTest, CountsAndLooksBackAsItLooksForward) {
  struct Line {
    const char* cron;
    const char* zone;
  };
  const absl::Time begin = RecurrenceAt("2025-12-31T23:59:59Z");
  const absl::Time end = RecurrenceAt("2027-01-01T10:30:30Z");
  for (const Line& test :
       {Line{"30 2 * * *", "Europe/Berlin"}, Line{"*/7 * * * *", "Europe/Berlin"},
        Line{"* 1-3 * * *", "Australia/Lord_Howe"}, Line{"10,40 2,3 * * SUN", "Pacific/Chatham"},
        Line{"15 */10 1-3,23 * 3,4,9,10 *", "Antarctica/Troll"}, Line{"0 0 29 2 *", "UTC"}}) {
    absl::TimeZone zone;
    ASSERT_TRUE(absl::LoadTimeZone(test.zone, &zone));
    const auto cron = CronExpression::Parse(test.cron);
    ASSERT_TRUE(cron.ok()) << cron.status();
    const Recurrence recurrence = {*cron, zone};
    const auto all = recurrence.First(begin, end, 1'000'000);
    EXPECT_EQ(recurrence.Count(begin, end), static_cast<std::int64_t>(all.size())) << test.cron;
    for (std::size_t i = 0; i < all.size(); i += 97) {
      const auto rest = static_cast<std::int64_t>(all.size() - i);
      EXPECT_EQ(recurrence.Count(all[i].time - absl::Microseconds(1), end), rest) << test.cron;
      EXPECT_EQ(recurrence.Count(all[i].time, end), rest - 1) << test.cron;
      EXPECT_EQ(recurrence.Count(begin, all[i].time), static_cast<std::int64_t>(i) + 1)
          << test.cron;
      const std::vector<Occurrence> last = recurrence.Last(begin, all[i].time, 3);
      ASSERT_EQ(last.size(), std::min<std::size_t>(3, i + 1)) << test.cron;
      EXPECT_EQ(last.back().time, all[i].time) << test.cron;
      EXPECT_EQ(last.front().time, all[i + 1 - last.size()].time) << test.cron;
    }
  }
}

TEST(RecurrenceTest, ACronExpressionRecursInItsZone) {
  absl::TimeZone berlin;
  ASSERT_TRUE(absl::LoadTimeZone("Europe/Berlin", &berlin));
  const Recurrence daily = {*CronExpression::Parse("30 2 * * *"), berlin};
  EXPECT_THAT(
      TimesOf(daily.First(RecurrenceAt("2026-03-28T00:00:00Z"),
                          RecurrenceAt("2026-03-30T23:00:00Z"), 100)),
      ElementsAre(RecurrenceAt("2026-03-28T01:30:00Z"), RecurrenceAt("2026-03-29T01:30:00Z"),
                  RecurrenceAt("2026-03-30T00:30:00Z")));
}

}  // namespace
}  // namespace parley
