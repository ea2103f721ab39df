// What is counted of calls, under the names that dashboards for gRPC know.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/histogram.h"
#include "services/runtime/metrics.h"

namespace parley::runtime {

// The numbers of one method. Thread-safe; without locks, because each call comes here four times.
class MethodMetrics {
 public:
  MethodMetrics();

  void Started() { Increment(started_); }
  void Received() { Increment(received_); }  // a message
  void Sent() { Increment(sent_); }          // a message
  void Handled(absl::StatusCode code, absl::Duration time);

 private:
  friend class ServiceMetrics;
  using Count = std::atomic<std::uint64_t>;
  static constexpr std::size_t kCodes = 17;

  static void Increment(Count& count) { count.fetch_add(1, std::memory_order_relaxed); }

  Count started_{0};
  Count received_{0};
  Count sent_{0};
  std::array<Count, kCodes> handled_{};
  Histogram seconds_;
};

// Those of a service, with all its methods from the start. Thread-safe.
class ServiceMetrics {
 public:
  // `service` is a full name, of a service whose descriptor is linked in; any other has no methods.
  explicit ServiceMetrics(const std::string& service);

  // The method's numbers; valid as long as this. Ends the process if the service has no such
  // method.
  MethodMetrics& Of(absl::string_view method) const;

  // Adds grpc_server_*, each method and code at zero.
  void AddTo(Metrics& metrics) const;

 private:
  struct Method {
    std::string type;  // "unary", "client_stream", "server_stream", "bidi_stream"
    std::unique_ptr<MethodMetrics> metrics;
  };

  const std::string service_;
  absl::flat_hash_map<std::string, Method> methods_;  // constant after construction
};

}  // namespace parley::runtime
