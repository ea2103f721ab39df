// How often a measured value fell between given bounds; what a Prometheus histogram shows.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace parley {

// Thread-safe. An observation is two additions without a lock, so that it can stand on the way of
// every call.
class Histogram {
 public:
  struct Snapshot {
    std::vector<double> bounds;
    std::vector<std::uint64_t>
        counts;  // one more than bounds; the last is of what exceeds them all
    double sum = 0;
  };

  // `bounds` ascend; a value that equals one belongs below it.
  explicit Histogram(std::vector<double> bounds)
      : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

  void Observe(double value) {
    const auto bound = std::lower_bound(bounds_.begin(), bounds_.end(), value);
    counts_[static_cast<std::size_t>(bound - bounds_.begin())].fetch_add(1,
                                                                         std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
  }

  // While others observe, the sum may be one observation ahead of the counts, or behind.
  Snapshot Read() const {
    Snapshot read{.bounds = bounds_, .counts = {}, .sum = sum_.load(std::memory_order_relaxed)};
    read.counts.reserve(counts_.size());
    for (const auto& count : counts_) read.counts.push_back(count.load(std::memory_order_relaxed));
    return read;
  }

 private:
  const std::vector<double> bounds_;
  std::vector<std::atomic<std::uint64_t>> counts_;
  std::atomic<double> sum_{0};
};

}  // namespace parley
