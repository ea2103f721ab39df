#include "base/clock.h"

#include <chrono>

#include "absl/time/clock.h"

namespace parley {

absl::Time SteadyNow() {
  using Steady = std::chrono::steady_clock;
  static const absl::Time wall = absl::Now();
  static const Steady::time_point begin = Steady::now();
  return wall + absl::FromChrono(Steady::now() - begin);
}

}  // namespace parley
