// For cron_zoneinfo_test.py: reads lines "zone begin end expression", with instants as seconds
// since 1970, and answers each with a line of the occurrences from begin up to and without end, in
// minutes since 1970, each with the first letter of how it was resolved; or with "error" and why.
#include <cstdint>
#include <iostream>
#include <string>

#include "absl/time/time.h"
#include "base/cron.h"
#include "tests/unit/resolution_letter.h"

namespace {

using ::parley::CronExpression;
using ::parley::LetterOf;

void Answer(const CronExpression& cron, const absl::TimeZone& zone, absl::Time begin,
            absl::Time end) {
  const absl::Time after = begin - absl::Nanoseconds(1);
  std::int64_t found = 0;
  for (auto next = cron.Next(after, zone); next && next->time < end;
       next = cron.Next(next->time, zone)) {
    std::cout << absl::ToUnixSeconds(next->time) / 60 << LetterOf(next->resolution) << ' ';
    ++found;
  }
  const std::int64_t counted = cron.Count(after, end - absl::Nanoseconds(1), zone);
  if (counted != found) std::cout << "counted: " << counted;
  std::cout << '\n';
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  std::string zone_name;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::string expression;
  while (std::cin >> zone_name >> begin >> end && std::getline(std::cin, expression)) {
    absl::TimeZone zone;
    const auto cron = CronExpression::Parse(expression);
    if (!absl::LoadTimeZone(zone_name, &zone)) {
      std::cout << "error unknown zone\n";
    } else if (!cron.ok()) {
      std::cout << "error " << cron.status().message() << '\n';
    } else {
      Answer(*cron, zone, absl::FromUnixSeconds(begin), absl::FromUnixSeconds(end));
    }
    std::cout.flush();
  }
  return 0;
}
