// What is remembered of a target that cannot be reached.
#pragma once

#include <string>
#include <utility>

#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

namespace parley::scheduler {

// Logs once when an outage begins and once when it ends; the pauses between attempts grow
// meanwhile. Not thread-safe.
class Outage {
 public:
  // Names for the log.
  Outage(std::string queue, std::string target)
      : queue_(std::move(queue)), target_(std::move(target)) {}

  // The target does not answer, or takes nothing. Returns how long to wait before the next attempt.
  absl::Duration Note(const absl::Status& status);
  // It has taken something, or would, as far as it says.
  void End();

  bool is_on() const { return pause_ > absl::ZeroDuration(); }

 private:
  const std::string queue_;
  const std::string target_;
  absl::BitGen random_;
  absl::Duration pause_ = absl::ZeroDuration();  // not zero: there is an outage
};

}  // namespace parley::scheduler
