// What an operator decides about an adoption.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace parley::adopt {

// What becomes of rows and columns that have no place in Parley's tables.
enum class Leftovers { kStop, kSetAside };

// Whether VerifyPassword takes the plain text passwords of the original, once each.
enum class LegacyPasswords { kReject, kPlaintext };

// One step that is done, or what keeps one waiting.
struct Step {
  std::string what;        // "messages copied"
  std::int64_t rows = -1;  // how many; -1: it is not about rows
  absl::Duration took;
};

struct AdoptOptions {
  // IANA zone that the original's times, which have none, are read in.
  std::string time_zone;
  // "LABEL=PRIVATE": what the original's labels mean. Those that are equal to ours, case aside,
  // need none.
  std::vector<std::string> chat_types;
  std::vector<std::string> user_statuses;
  std::string search_language = "simple";  // as parley-messaged's flag of this name
  LegacyPasswords legacy_passwords = LegacyPasswords::kReject;
  Leftovers leftovers = Leftovers::kStop;
  std::int64_t rows_shown = 20;  // of each finding, at most

  absl::Duration lock_wait = absl::Minutes(5);  // for other migrators to finish
  // For the tables' locks, while others wait behind; rounded up to milliseconds; zero: no end.
  absl::Duration lock_timeout = absl::Seconds(2);
  absl::Duration lock_retry = absl::Minutes(10);      // to try again when they were not had
  std::function<void(const Step&)> report = nullptr;  // may be null
};

}  // namespace parley::adopt
