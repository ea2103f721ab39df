#include "services/scheduler/recurrence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace parley::scheduler {
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

TEST(RecurrenceTest, BetweenLeavesOutItsBeginningAndKeepsItsEnd) {
  const absl::Time anchor = RecurrenceAt("2026-01-01T00:00:00Z");
  const Recurrence every = {absl::Seconds(10), anchor};
  EXPECT_THAT(TimesOf(every.Between(anchor, anchor + absl::Seconds(30), 100)),
              ElementsAre(anchor + absl::Seconds(10), anchor + absl::Seconds(20),
                          anchor + absl::Seconds(30)));
  EXPECT_THAT(TimesOf(every.Between(anchor, anchor + absl::Seconds(30), 2)),
              ElementsAre(anchor + absl::Seconds(10), anchor + absl::Seconds(20)));
  EXPECT_THAT(every.Between(anchor, anchor + absl::Seconds(9), 100), IsEmpty());
}

TEST(RecurrenceTest, ACronExpressionRecursInItsZone) {
  absl::TimeZone berlin;
  ASSERT_TRUE(absl::LoadTimeZone("Europe/Berlin", &berlin));
  const Recurrence daily = {*CronExpression::Parse("30 2 * * *"), berlin};
  EXPECT_THAT(
      TimesOf(daily.Between(RecurrenceAt("2026-03-28T00:00:00Z"),
                            RecurrenceAt("2026-03-30T23:00:00Z"), 100)),
      ElementsAre(RecurrenceAt("2026-03-28T01:30:00Z"), RecurrenceAt("2026-03-29T01:30:00Z"),
                  RecurrenceAt("2026-03-30T00:30:00Z")));
}

}  // namespace
}  // namespace parley::scheduler
