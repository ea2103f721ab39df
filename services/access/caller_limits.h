// How much one caller may have of a service at once, and how often it may call.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "services/access/scope.h"

namespace parley::access {

// Of this process alone: what goes through three replicas may be three times as much. Thread-safe.
class CallerLimits {
 public:
  struct Options {
    std::int64_t calls = 10000;    // that one caller may have in flight; 0: any number
    std::int64_t streams = 10000;  // the same of streams
    // Calls a second, of methods that one scope opens; after a pause so many more at once as fit
    // into two seconds. 0: any number.
    std::int64_t rate = 10000;
  };
  explicit CallerLimits(Options options) : options_(options) {}

  // Counts a call of `caller`'s until what is returned is gone; `kind` tells which of its rates the
  // call counts for. RESOURCE_EXHAUSTED, with the quota and a delay: TOO_MANY_CALLS,
  // TOO_MANY_STREAMS, RATE_LIMITED.
  absl::StatusOr<std::shared_ptr<void>> Take(absl::string_view caller, Scope kind, bool is_stream,
                                             absl::Time now) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Bucket {
    double tokens = 0;
    absl::Time filled = absl::InfinitePast();  // when `tokens` was right
  };
  struct Usage {
    std::int64_t calls = 0;
    std::int64_t streams = 0;
    std::array<Bucket, kScopeCount> buckets;
  };
  class Place;

  absl::Status TakeToken(Bucket& bucket, absl::string_view caller, absl::Time now) const;
  void GiveBack(const std::string& caller, bool is_stream) ABSL_LOCKS_EXCLUDED(mutex_);
  void ForgetIdle(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  Mutex mutex_;
  absl::flat_hash_map<std::string, Usage> usage_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::access
