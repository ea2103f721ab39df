#include "base/cron.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/numeric/bits.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "base/zone_stretch.h"

namespace parley {
namespace {

using absl::CivilSecond;

constexpr int kSearchYears = 50;

// What a field may hold. Of `names`, the first means `low`.
struct FieldKind {
  absl::string_view name;
  int low;
  int high;
  std::initializer_list<absl::string_view> names;
};

const FieldKind kSecond = {"second", 0, 59, {}};
const FieldKind kMinute = {"minute", 0, 59, {}};
const FieldKind kHour = {"hour", 0, 23, {}};
const FieldKind kDayOfMonth = {"day of month", 1, 31, {}};
const FieldKind kMonth = {
    "month",
    1,
    12,
    {"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}};
const FieldKind kDayOfWeek = {
    "day of week", 0, 7, {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}};

constexpr std::pair<absl::string_view, absl::string_view> kMacros[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
    {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
    {"@hourly", "0 * * * *"}};

constexpr std::uint64_t Bit(int value) { return std::uint64_t{1} << value; }

// The values from `first` to `last`, every `step`th.
std::uint64_t Bits(int first, int last, int step = 1) {
  std::uint64_t bits = 0;
  for (int value = first; value <= last; value += step) bits |= Bit(value);
  return bits;
}

// The lowest value of `bits` that is `from` or more; -1: none.
int NextValue(std::uint64_t bits, int from) {
  if (from > 63) return -1;
  const std::uint64_t rest = bits & (~std::uint64_t{0} << from);
  return rest == 0 ? -1 : absl::countr_zero(rest);
}

int FirstValue(std::uint64_t bits) { return NextValue(bits, 0); }

// How many values are lower than `value`.
int CountBelow(std::uint64_t bits, int value) { return absl::popcount(bits & (Bit(value) - 1)); }

// One field of an expression, read from its text.
class Field {
 public:
  Field(const FieldKind& kind, absl::string_view text) : kind_(kind), text_(text) {}

  absl::Status Read() {
    for (const absl::string_view item : absl::StrSplit(text_, ',')) {
      PARLEY_RETURN_IF_ERROR(ReadItem(item));
    }
    return absl::OkStatus();
  }

  std::uint64_t bits() const { return bits_; }
  // "begins with *"
  bool is_open() const { return absl::StartsWith(text_, "*"); }
  bool has_star_or_step() const { return has_star_or_step_; }

 private:
  absl::Status Wrong(absl::string_view why) const {
    return absl::InvalidArgumentError(
        absl::StrCat("its field \"", text_, "\" (", kind_.name, ") ", why));
  }

  absl::Status ReadItem(absl::string_view item) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(item, absl::MaxSplits('/', 1));
    const auto& [range, step_text] = parts;
    const bool has_step = absl::StrContains(item, '/');
    const bool is_range = range == "*" || absl::StrContains(range, '-');
    int first = kind_.low;
    int last = kind_.high;
    int step = 1;
    if (range == "*") {
      // A week has seven days, though its field goes from 0 to 7.
      if (&kind_ == &kDayOfWeek) last = 6;
    } else {
      PARLEY_RETURN_IF_ERROR(ReadRange(range, first, last));
    }
    if (has_step) {
      if (!is_range) return Wrong("has a step behind a single value; steps need * or a range");
      if (!ReadNumber(step_text, step) || step < 1 || step > kind_.high) {
        return Wrong(absl::StrCat("has a step that is not a number from 1 to ", kind_.high));
      }
    }
    bits_ |= Bits(first, last, step);
    has_star_or_step_ |= range == "*" || has_step;
    return absl::OkStatus();
  }

  absl::Status ReadRange(absl::string_view range, int& first, int& last) {
    const std::pair<absl::string_view, absl::string_view> ends =
        absl::StrSplit(range, absl::MaxSplits('-', 1));
    PARLEY_RETURN_IF_ERROR(ReadValue(ends.first, first));
    last = first;
    if (!absl::StrContains(range, '-')) return absl::OkStatus();
    PARLEY_RETURN_IF_ERROR(ReadValue(ends.second, last));
    // SAT-SUN is a weekend.
    if (&kind_ == &kDayOfWeek && last == 0 && first > 0) last = 7;
    if (last < first) return Wrong("has a range that ends before it begins");
    return absl::OkStatus();
  }

  absl::Status ReadValue(absl::string_view text, int& value) const {
    const auto name = std::find_if(kind_.names.begin(), kind_.names.end(), [&](auto candidate) {
      return absl::EqualsIgnoreCase(candidate, text);
    });
    if (name != kind_.names.end()) {
      value = kind_.low + static_cast<int>(std::distance(kind_.names.begin(), name));
      return absl::OkStatus();
    }
    if (ReadNumber(text, value) && value >= kind_.low && value <= kind_.high) {
      return absl::OkStatus();
    }
    std::string allowed = absl::StrCat("is not made of ", kind_.low, "-", kind_.high);
    if (kind_.names.size() > 0) {
      absl::StrAppend(&allowed, ", ", *kind_.names.begin(), "-", *(kind_.names.end() - 1));
    }
    return Wrong(absl::StrCat(allowed, ", *, ranges, lists and steps"));
  }

  // At most three digits and nothing else.
  static bool ReadNumber(absl::string_view text, int& number) {
    const bool all_digits = std::all_of(text.begin(), text.end(), [](char c) {
      return absl::ascii_isdigit(static_cast<unsigned char>(c));
    });
    return !text.empty() && text.size() <= 3 && all_digits && absl::SimpleAtoi(text, &number);
  }

  const FieldKind& kind_;
  const absl::string_view text_;
  std::uint64_t bits_ = 0;
  bool has_star_or_step_ = false;
};

// The first whole second later than `time`.
absl::Time SecondAfter(absl::Time time) {
  return absl::FromUnixSeconds(absl::ToUnixSeconds(time)) + absl::Seconds(1);
}

// The five fields that a name stands for; others as they are.
absl::StatusOr<absl::string_view> ExpandMacro(absl::string_view text) {
  if (!absl::StartsWith(text, "@")) return text;
  std::vector<absl::string_view> names;
  for (const auto& [name, fields] : kMacros) {
    if (absl::EqualsIgnoreCase(name, text)) return fields;
    names.push_back(name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("must be one of ", absl::StrJoin(names, ", "), " where it begins with @"));
}

// Whether a month of `months` has a day of `days`, in some year.
bool SomeMonthHasDay(std::uint64_t months, std::uint64_t days) {
  constexpr int kDays[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  for (int month = 1; month <= 12; ++month) {
    if ((months & Bit(month)) != 0 && FirstValue(days) <= kDays[month - 1]) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<CronExpression> CronExpression::Parse(absl::string_view text) {
  PARLEY_ASSIGN_OR_RETURN(const absl::string_view expanded,
                          ExpandMacro(absl::StripAsciiWhitespace(text)));
  std::vector<absl::string_view> fields =
      absl::StrSplit(expanded, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  if (fields.size() != 5 && fields.size() != 6) {
    return absl::InvalidArgumentError(
        absl::StrCat("must have five fields (minute, hour, day of month, month, day of week) or "
                     "six (second first), and has ",
                     fields.size()));
  }
  const bool has_seconds = fields.size() == 6;
  if (!has_seconds) fields.insert(fields.begin(), "0");
  std::array<Field, 6> read = {Field(kSecond, fields[0]), Field(kMinute, fields[1]),
                               Field(kHour, fields[2]),   Field(kDayOfMonth, fields[3]),
                               Field(kMonth, fields[4]),  Field(kDayOfWeek, fields[5])};
  for (Field& field : read) PARLEY_RETURN_IF_ERROR(field.Read());
  const auto& [second, minute, hour, day, month, weekday] = read;

  CronExpression cron;
  cron.seconds_ = second.bits();
  cron.minutes_ = minute.bits();
  cron.hours_ = hour.bits();
  cron.days_ = day.bits();
  cron.months_ = month.bits();
  cron.weekdays_ = (weekday.bits() | weekday.bits() >> 7) & Bits(0, 6);
  cron.either_day_ = !day.is_open() && !weekday.is_open();
  cron.keeps_pace_ = hour.has_star_or_step() || hour.bits() == Bits(0, 23);
  if (!cron.either_day_ && !SomeMonthHasDay(cron.months_, cron.days_)) {
    return absl::InvalidArgumentError("never happens: none of its months has such a day");
  }
  return cron;
}

bool CronExpression::MatchesDay(absl::CivilDay day) const {
  // absl's week begins with Monday, as 0.
  const int weekday = (static_cast<int>(absl::GetWeekday(day)) + 1) % 7;
  const bool suits_month = (days_ & Bit(day.day())) != 0;
  const bool suits_week = (weekdays_ & Bit(weekday)) != 0;
  return either_day_ ? suits_month || suits_week : suits_month && suits_week;
}

std::optional<CivilSecond> CronExpression::NextMatchInDay(CivilSecond from) const {
  auto at = [&](int hour, int minute, int second) {
    return CivilSecond(from.year(), from.month(), from.day(), hour, minute, second);
  };
  const int hour = NextValue(hours_, from.hour());
  if (hour < 0) return std::nullopt;
  if (hour > from.hour()) return at(hour, FirstValue(minutes_), FirstValue(seconds_));
  int minute = NextValue(minutes_, from.minute());
  if (minute == from.minute()) {
    const int second = NextValue(seconds_, from.second());
    if (second >= 0) return at(hour, minute, second);
    minute = NextValue(minutes_, minute + 1);
  }
  if (minute >= 0) return at(hour, minute, FirstValue(seconds_));
  const int later = NextValue(hours_, hour + 1);
  if (later < 0) return std::nullopt;
  return at(later, FirstValue(minutes_), FirstValue(seconds_));
}

std::optional<CivilSecond> CronExpression::NextMatch(CivilSecond from, CivilSecond end) const {
  const absl::CivilDay first(from);
  for (absl::CivilDay day = first; CivilSecond(day) < end;) {
    if ((months_ & Bit(day.month())) == 0) {
      day = absl::CivilDay(absl::CivilMonth(day) + 1);
      continue;
    }
    if (MatchesDay(day)) {
      const std::optional<CivilSecond> match =
          NextMatchInDay(day == first ? from : CivilSecond(day));
      if (match) return *match < end ? match : std::nullopt;
    }
    ++day;
  }
  return std::nullopt;
}

std::int64_t CronExpression::TimesOfDay() const {
  return std::int64_t{absl::popcount(hours_)} * absl::popcount(minutes_) * absl::popcount(seconds_);
}

std::int64_t CronExpression::TimesBefore(CivilSecond time) const {
  const std::int64_t an_hour = std::int64_t{absl::popcount(minutes_)} * absl::popcount(seconds_);
  std::int64_t count = CountBelow(hours_, time.hour()) * an_hour;
  if ((hours_ & Bit(time.hour())) == 0) return count;
  count += std::int64_t{CountBelow(minutes_, time.minute())} * absl::popcount(seconds_);
  if ((minutes_ & Bit(time.minute())) == 0) return count;
  return count + CountBelow(seconds_, time.second());
}

std::int64_t CronExpression::CountMatches(CivilSecond from, CivilSecond end) const {
  std::int64_t count = 0;
  const absl::CivilDay first(from);
  const absl::CivilDay last(end);
  for (absl::CivilDay day = first; day <= last && from < end; ++day) {
    if ((months_ & Bit(day.month())) == 0 || !MatchesDay(day)) continue;
    count += day == last ? TimesBefore(end) : TimesOfDay();
    if (day == first) count -= TimesBefore(from);
  }
  return count;
}

std::int64_t CronExpression::Count(absl::Time after, absl::Time until,
                                   const absl::TimeZone& zone) const {
  const absl::Time begin = SecondAfter(after);
  const absl::Time end = SecondAfter(until);
  std::int64_t count = 0;
  if (begin >= end) return 0;
  ZoneStretch stretch(begin, zone);
  do {
    const CivilSecond from = keeps_pace_ ? stretch.civil_begin() : stretch.repeated_until();
    const CivilSecond to = end < stretch.end()
                               ? stretch.civil_begin() + absl::ToInt64Seconds(end - stretch.begin())
                               : stretch.civil_end();
    count += CountMatches(from, to);
    if (keeps_pace_) continue;
    // Shifted ones, but for those that fall on another.
    for (auto skipped = NextMatch(stretch.skipped_begin(), stretch.skipped_end());
         skipped && stretch.Shift(*skipped) < end;
         skipped = NextMatch(*skipped + 1, stretch.skipped_end())) {
      const CivilSecond shifted = stretch.CivilShift(*skipped);
      if (CountMatches(shifted, shifted + 1) == 0) ++count;
    }
  } while (stretch.Advance() && stretch.begin() < end);
  return count;
}

std::optional<Occurrence> CronExpression::Next(absl::Time after, const absl::TimeZone& zone) const {
  const absl::Time begin = SecondAfter(after);
  const CivilSecond limit =
      std::min(absl::ToCivilSecond(begin, zone) + std::int64_t{kSearchYears} * 366 * 24 * 3600,
               CivilSecond(kLastZoneYear, 1, 1));
  ZoneStretch stretch(begin, zone);
  do {
    std::optional<Occurrence> found;
    const CivilSecond from = keeps_pace_ ? stretch.civil_begin() : stretch.repeated_until();
    if (const auto match = NextMatch(from, std::min(stretch.civil_end(), limit))) {
      const absl::Time time = stretch.begin() + absl::Seconds(*match - stretch.civil_begin());
      const bool is_repeated = zone.At(*match).kind == absl::TimeZone::TimeInfo::REPEATED;
      found = {time, is_repeated ? LocalTimeResolution::kAmbiguous : LocalTimeResolution::kUnique};
    }
    if (!keeps_pace_) {
      const auto match = NextMatch(stretch.skipped_begin(), stretch.skipped_end());
      if (match && (!found || stretch.Shift(*match) < found->time)) {
        found = {stretch.Shift(*match), LocalTimeResolution::kShifted};
      }
    }
    if (found) return found;
  } while (stretch.Advance() && stretch.civil_begin() < limit);
  return std::nullopt;
}

}  // namespace parley
