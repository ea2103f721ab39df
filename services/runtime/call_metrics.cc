#include "services/runtime/call_metrics.h"

#include <google/protobuf/descriptor.h>

#include <cstdlib>
#include <vector>

#include "services/runtime/log.h"

namespace parley::runtime {
namespace {

// In the spelling of gRPC for Go, by which dashboards ask.
constexpr std::array<const char*, 17> kCodeNames = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

// A read takes less than a millisecond, a call that waits for tasks a minute.
std::vector<double> SecondsBounds() {
  return {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
}

const char* TypeOf(const google::protobuf::MethodDescriptor& method) {
  if (method.client_streaming()) return method.server_streaming() ? "bidi_stream" : "client_stream";
  return method.server_streaming() ? "server_stream" : "unary";
}

}  // namespace

MethodMetrics::MethodMetrics() : seconds_(SecondsBounds()) {}

void MethodMetrics::Handled(absl::StatusCode code, absl::Duration time) {
  const auto number = static_cast<std::size_t>(code);
  Increment(
      handled_[number < kCodes ? number : static_cast<std::size_t>(absl::StatusCode::kUnknown)]);
  seconds_.Observe(absl::ToDoubleSeconds(time));
}

ServiceMetrics::ServiceMetrics(const std::string& service) : service_(service) {
  const google::protobuf::ServiceDescriptor* const descriptor =
      google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(service);
  for (int i = 0; descriptor != nullptr && i < descriptor->method_count(); ++i) {
    const google::protobuf::MethodDescriptor& method = *descriptor->method(i);
    methods_[method.name()] = {.type = TypeOf(method),
                               .metrics = std::make_unique<MethodMetrics>()};
  }
}

MethodMetrics& ServiceMetrics::Of(absl::string_view method) const {
  const auto found = methods_.find(method);
  if (found == methods_.end()) {
    Log(LogLevel::kError, "a service has no such method",
        {{"grpc.service", service_}, {"grpc.method", method}});
    std::abort();
  }
  return *found->second.metrics;
}

void ServiceMetrics::AddTo(Metrics& metrics) const {
  for (const auto& [name, method] : methods_) {
    const Metrics::Labels labels = {
        {"grpc_type", method.type}, {"grpc_service", service_}, {"grpc_method", name}};
    const auto reader = [](const MethodMetrics::Count& count) {
      return [&count] { return static_cast<double>(count.load(std::memory_order_relaxed)); };
    };
    const MethodMetrics& numbers = *method.metrics;
    metrics.AddCounter({"grpc_server_started_total", "Calls that have begun.", labels},
                       reader(numbers.started_));
    metrics.AddCounter(
        {"grpc_server_msg_received_total", "Messages that callers have sent.", labels},
        reader(numbers.received_));
    metrics.AddCounter(
        {"grpc_server_msg_sent_total", "Messages that were sent to callers.", labels},
        reader(numbers.sent_));
    metrics.AddHistogram(
        {"grpc_server_handling_seconds",
         "From a call's first bytes to its status; of streams, how long they last.", labels},
        numbers.seconds_);
    for (std::size_t code = 0; code < MethodMetrics::kCodes; ++code) {
      Metrics::Labels with_code = labels;
      with_code.emplace_back("grpc_code", kCodeNames[code]);
      metrics.AddCounter(
          {"grpc_server_handled_total", "Calls that have ended, by status.", std::move(with_code)},
          reader(numbers.handled_[code]));
    }
  }
}

}  // namespace parley::runtime
