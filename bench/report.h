// What a run of the load program measured.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace parley::bench {

// Fill it, then Finish() it, then read it. Not thread-safe.
struct Report {
  std::string scenario;
  int in_flight = 0;
  double asked_rate = 0;              // calls a second; 0: as many as there were answers
  absl::Duration seconds;             // that were measured, without the warm-up
  std::vector<absl::Duration> calls;  // the time of each call that was answered in them with OK
  std::int64_t not_made =
      0;  // of a fixed rate: calls that were due and that nobody was free to make
  std::map<std::string, std::int64_t> errors;  // by code, those of the warm-up too

  // Sorts the calls.
  void Finish();

  // Calls answered with OK, a second.
  double Rate() const;
  // After Finish(): the time within which `part` (0..1) of the calls were answered; zero without
  // calls.
  absl::Duration Percentile(double part) const;
  absl::Duration Mean() const;
  // No error, and at least one call.
  bool Ok() const;

  std::string ToText() const;
  // One line; times in milliseconds.
  std::string ToJson() const;
};

}  // namespace parley::bench
