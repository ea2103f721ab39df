#include "base/local_time.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/civil_time.h"

namespace parley {
namespace {

constexpr char kDateTimeField[] = "local_time.date_time";
constexpr std::size_t kMaxZoneName = 64;

std::filesystem::path ZoneDirectory() {
  const char* directory = std::getenv("TZDIR");
  return directory != nullptr && *directory != '\0' ? directory : "/usr/share/zoneinfo";
}

// Parts of letters, digits, '_', '+' and '-', divided by single slashes.
bool LooksLikeZoneName(absl::string_view name) {
  if (name.empty() || name.size() > kMaxZoneName) return false;
  char previous = '/';
  for (const char c : name) {
    if (c == '/' ? previous == '/'
                 : !absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '+' &&
                       c != '-') {
      return false;
    }
    previous = c;
  }
  return previous != '/';
}

// Reads exactly `digits` digits from the front of `text`.
std::optional<int> TakeNumber(absl::string_view& text, std::size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int number = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(text[i]))) return std::nullopt;
    number = number * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return number;
}

bool TakeCharacter(absl::string_view& text, char expected) {
  if (text.empty() || text.front() != expected) return false;
  text.remove_prefix(1);
  return true;
}

// The rest of a date_time after its seconds: nothing, or '.' and one to six digits.
std::optional<absl::Duration> ParseFraction(absl::string_view text) {
  constexpr std::size_t kMaxDigits = 6;
  if (text.empty()) return absl::ZeroDuration();
  if (!TakeCharacter(text, '.') || text.empty() || text.size() > kMaxDigits) return std::nullopt;
  std::string digits(text);
  digits.resize(kMaxDigits, '0');
  absl::string_view rest = digits;
  const std::optional<int> microseconds = TakeNumber(rest, kMaxDigits);
  if (!microseconds) return std::nullopt;
  return absl::Microseconds(*microseconds);
}

struct CivilTime {
  absl::CivilSecond second;
  absl::Duration fraction;
};

// nullopt if `text` is not of the form, or is no date or time, such as February 30.
std::optional<CivilTime> ParseDateTime(absl::string_view text) {
  const std::optional<int> year = TakeNumber(text, 4);
  if (!year || *year == 0) return std::nullopt;
  int part[5] = {};  // month, day, hour, minute, second
  for (std::size_t i = 0; i < 5; ++i) {
    if (!TakeCharacter(text, "--T::"[i])) return std::nullopt;
    const std::optional<int> number = TakeNumber(text, 2);
    if (!number) return std::nullopt;
    part[i] = *number;
  }
  const std::optional<absl::Duration> fraction = ParseFraction(text);
  if (!fraction) return std::nullopt;
  const absl::CivilSecond second(*year, part[0], part[1], part[2], part[3], part[4]);
  // A CivilSecond makes March 2 of February 30; what has changed was no time.
  if (second.year() != *year || second.month() != part[0] || second.day() != part[1] ||
      second.hour() != part[2] || second.minute() != part[3] || second.second() != part[4]) {
    return std::nullopt;
  }
  return CivilTime{second, *fraction};
}

// Applies the policies; nullopt, and a violation, if they refuse.
std::optional<absl::Time> ApplyPolicies(const absl::TimeZone::TimeInfo& info, LocalTime& local_time,
                                        Violations& violations) {
  switch (info.kind) {
    case absl::TimeZone::TimeInfo::UNIQUE:
      local_time.resolution = LocalTimeResolution::kUnique;
      return info.pre;
    case absl::TimeZone::TimeInfo::SKIPPED:
      local_time.resolution = LocalTimeResolution::kShifted;
      if (local_time.gap_policy == GapPolicy::kShift) return info.pre;
      violations.Add(kDateTimeField, "is skipped by a change of the zone's offset");
      return std::nullopt;
    case absl::TimeZone::TimeInfo::REPEATED:
      local_time.resolution = LocalTimeResolution::kAmbiguous;
      if (local_time.fold_policy == FoldPolicy::kFirst) return info.pre;
      if (local_time.fold_policy == FoldPolicy::kSecond) return info.post;
      violations.Add(kDateTimeField, "happens twice, around a change of the zone's offset");
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

bool IsKnownTimeZone(absl::string_view name) {
  if (!LooksLikeZoneName(name)) return false;
  // Files beside the zones, and copies of them that count leap seconds or have other names.
  for (const absl::string_view foreign : {"posix/", "right/"}) {
    if (absl::StartsWith(name, foreign)) return false;
  }
  if (name == "localtime" || name == "posixrules") return false;
  // The loader keeps every name it was ever asked for, so it is asked only for files that exist.
  std::error_code error;
  if (!std::filesystem::is_regular_file(ZoneDirectory() / std::string(name), error)) return false;
  absl::TimeZone zone;
  return absl::LoadTimeZone(name, &zone);
}

std::optional<ResolvedLocalTime> ResolveLocalTime(const LocalTime& local_time,
                                                  absl::string_view default_zone,
                                                  Violations& violations) {
  ResolvedLocalTime resolved;
  resolved.local_time = local_time;
  if (resolved.local_time.time_zone.empty()) {
    resolved.local_time.time_zone = std::string(default_zone);
  }
  const std::optional<CivilTime> civil = ParseDateTime(local_time.date_time);
  if (!civil) {
    violations.Add(
        kDateTimeField,
        "must be a date and time of the form YYYY-MM-DDTHH:MM:SS, with at most six digits "
        "of a fraction and without an offset");
  }
  absl::TimeZone zone;
  if (!IsKnownTimeZone(resolved.local_time.time_zone) ||
      !absl::LoadTimeZone(resolved.local_time.time_zone, &zone)) {
    violations.Add("local_time.time_zone", "must be an IANA time zone, such as Europe/Berlin");
    return std::nullopt;
  }
  if (!civil) return std::nullopt;
  const std::optional<absl::Time> instant =
      ApplyPolicies(zone.At(civil->second), resolved.local_time, violations);
  if (!instant) return std::nullopt;
  resolved.instant = *instant + civil->fraction;
  // West of Greenwich the last hours of the year 9999 lie beyond what a Timestamp can say.
  if (resolved.instant >= absl::FromCivil(absl::CivilYear(10000), absl::UTCTimeZone()) ||
      resolved.instant < absl::FromCivil(absl::CivilYear(1), absl::UTCTimeZone())) {
    violations.Add("local_time.date_time", "must lie in the years 1 to 9999 of UTC");
    return std::nullopt;
  }
  return resolved;
}

}  // namespace parley
