// On Redis, what was handed over, so that it is not handed over twice.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/celery/redis_connection.h"

namespace parley::celery {

// A key is entered before or with the hand-off that it names, and then says so; or it is withdrawn
// by who believes that the hand-off will not happen, and then it will not. Whichever comes first
// holds. Keys are kept for as long as they can matter, then Redis forgets them.
//
//   nothing -> sent        a hand-off
//   nothing -> withdrawn   Withdraw
//
// Belongs to one thread at a time. All return UNAVAILABLE if Redis does not do what it is told.
class HandoffLedger {
 public:
  explicit HandoffLedger(std::shared_ptr<RedisConnection> redis) : redis_(std::move(redis)) {}

  // For each key, whether it may be handed over: it was neither entered nor withdrawn before.
  absl::StatusOr<std::vector<bool>> Enter(const std::vector<std::string>& keys);
  // Withdraws what was not entered. For each key, whether it was, so that the hand-off has happened
  // or is happening.
  absl::StatusOr<std::vector<bool>> Withdraw(const std::vector<std::string>& keys);
  // The hand-offs are settled: the keys are forgotten after `keep`.
  absl::Status Settle(const std::vector<std::string>& keys, absl::Duration keep);

 private:
  const std::shared_ptr<RedisConnection> redis_;
};

// How long a key is kept, longer than anybody may hold a lease of which it tells.
inline constexpr absl::Duration kKeepHandoff = absl::Hours(24 * 8);

}  // namespace parley::celery
