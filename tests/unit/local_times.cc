// For local_time_zoneinfo_test.py: reads lines "zone date_time ...", with date-times as
// ResolveLocalTime takes them, and answers each with a line of, for each date-time, its first and
// its second instant in seconds since 1970 and the first letter of how it was resolved.
#include <iostream>
#include <optional>
#include <sstream>
#include <string>

#include "absl/time/time.h"
#include "base/local_time.h"
#include "tests/unit/resolution_letter.h"

namespace {

using ::parley::FoldPolicy;
using ::parley::LetterOf;
using ::parley::LocalTime;

std::optional<parley::ResolvedLocalTime> Resolve(const std::string& zone,
                                                 const std::string& date_time, FoldPolicy fold) {
  LocalTime local_time;
  local_time.date_time = date_time;
  local_time.time_zone = zone;
  local_time.fold_policy = fold;
  parley::Violations violations;
  return ResolveLocalTime(local_time, "UTC", violations);
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string zone;
    std::string date_time;
    words >> zone;
    while (words >> date_time) {
      const auto first = Resolve(zone, date_time, FoldPolicy::kFirst);
      const auto second = Resolve(zone, date_time, FoldPolicy::kSecond);
      if (!first || !second || first->local_time.resolution != second->local_time.resolution) {
        std::cout << "error ";
        continue;
      }
      std::cout << absl::ToUnixSeconds(first->instant) << ','
                << absl::ToUnixSeconds(second->instant) << ','
                << LetterOf(first->local_time.resolution) << ' ';
    }
    std::cout << '\n' << std::flush;
  }
  return 0;
}
