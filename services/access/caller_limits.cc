#include "services/access/caller_limits.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"

namespace parley::access {
namespace {

constexpr double kBurstSeconds = 2;
// Callers beyond so many are looked through for those who have not called for a while.
constexpr std::size_t kManyCallers = 10000;
// A caller who has too much in flight may come again when some of it has ended.
constexpr absl::Duration kRetryWhenFull = absl::Milliseconds(100);

absl::Status Exhausted(absl::string_view reason, absl::string_view caller, absl::string_view what,
                       std::int64_t limit, absl::Duration delay) {
  const std::string text = absl::StrCat("more than ", limit, " ", what);
  return WithQuota(WithRetryDelay(Error(absl::StatusCode::kResourceExhausted, reason, text,
                                        {{"limit", absl::StrCat(limit)}}),
                                  delay),
                   absl::StrCat("caller:", caller), text);
}

}  // namespace

// What a call takes up, until it is destroyed.
class CallerLimits::Place {
 public:
  Place(CallerLimits& limits, absl::string_view caller, bool is_stream)
      : limits_(limits), caller_(caller), is_stream_(is_stream) {}
  ~Place() { limits_.GiveBack(caller_, is_stream_); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

 private:
  CallerLimits& limits_;
  const std::string caller_;
  const bool is_stream_;
};

absl::StatusOr<std::shared_ptr<void>> CallerLimits::Take(absl::string_view caller, Scope kind,
                                                         bool is_stream, absl::Time now) {
  {
    MutexLock lock(mutex_);
    if (usage_.size() >= kManyCallers) ForgetIdle(now);
    Usage& usage = usage_[caller];
    const std::int64_t limit = is_stream ? options_.streams : options_.calls;
    std::int64_t& taken = is_stream ? usage.streams : usage.calls;
    if (limit > 0 && taken >= limit) {
      return is_stream ? Exhausted(reason::kTooManyStreams, caller, "streams of one caller", limit,
                                   kRetryWhenFull)
                       : Exhausted(reason::kTooManyCalls, caller, "calls of one caller at once",
                                   limit, kRetryWhenFull);
    }
    PARLEY_RETURN_IF_ERROR(
        TakeToken(usage.buckets.at(static_cast<std::size_t>(kind)), caller, now));
    ++taken;
  }
  return std::make_shared<Place>(*this, caller, is_stream);
}

absl::Status CallerLimits::TakeToken(Bucket& bucket, absl::string_view caller,
                                     absl::Time now) const {
  if (options_.rate == 0) return absl::OkStatus();
  const auto rate = static_cast<double>(options_.rate);
  // A bucket that was never filled is full; a clock that goes back adds nothing.
  const double since = std::max(0.0, absl::ToDoubleSeconds(now - bucket.filled));
  bucket.tokens = std::min(rate * kBurstSeconds, bucket.tokens + rate * since);
  bucket.filled = now;
  if (bucket.tokens < 1) {
    const absl::Duration delay =
        std::max(absl::Seconds((1 - bucket.tokens) / rate), absl::Milliseconds(1));
    return Exhausted(reason::kRateLimited, caller, "calls a second of one caller", options_.rate,
                     delay);
  }
  bucket.tokens -= 1;
  return absl::OkStatus();
}

void CallerLimits::GiveBack(const std::string& caller, bool is_stream) {
  MutexLock lock(mutex_);
  // Who has something to give back is not forgotten.
  Usage& usage = usage_[caller];
  --(is_stream ? usage.streams : usage.calls);
}

void CallerLimits::ForgetIdle(absl::Time now) {
  const absl::Time full_by_now = now - absl::Seconds(kBurstSeconds);
  for (auto entry = usage_.begin(); entry != usage_.end();) {
    const Usage& usage = entry->second;
    const bool idle =
        usage.calls == 0 && usage.streams == 0 &&
        std::all_of(usage.buckets.begin(), usage.buckets.end(),
                    [&](const Bucket& bucket) { return bucket.filled < full_by_now; });
    const auto current = entry++;
    if (idle) usage_.erase(current);
  }
}

}  // namespace parley::access
