#include "services/runtime/call.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_format.h"
#include "base/error.h"
#include "services/runtime/log.h"
#include "services/runtime/status_mapping.h"

namespace parley::runtime {
namespace {

absl::Time CallerDeadline(const grpc::CallbackServerContext& context) {
  const std::chrono::system_clock::time_point deadline = context.deadline();
  // gRPC's word for "none" lies beyond what absl::Time converts to.
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return absl::FromChrono(deadline);
}

// Names one failed call in the log and in the text its caller gets.
std::string NewLogId() {
  static std::atomic<std::uint64_t> next{
      static_cast<std::uint64_t>(absl::ToUnixNanos(absl::Now()))};
  return absl::StrFormat("%016x", next.fetch_add(1, std::memory_order_relaxed));
}

LogLevel LevelOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:
      return LogLevel::kError;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDeadlineExceeded:
      return LogLevel::kWarn;
    default:
      return LogLevel::kInfo;
  }
}

}  // namespace

absl::Status Call::CheckAlive() const {
  if (IsCancelled()) {
    return Error(absl::StatusCode::kCancelled, reason::kCancelled, "the caller has left");
  }
  if (absl::Now() >= deadline_) {
    return Error(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded,
                 "the deadline passed before the work began");
  }
  return absl::OkStatus();
}

CallPipeline::Reactor::Reactor(const CallPipeline& pipeline, const MethodOptions& method,
                               grpc::CallbackServerContext* context)
    : service_(pipeline.options_.service),
      method_(method.name),
      context_(context),
      start_(absl::Now()) {
  const absl::Duration longest = method.max_deadline > absl::ZeroDuration()
                                     ? method.max_deadline
                                     : pipeline.options_.max_deadline;
  const absl::Time asked = CallerDeadline(*context);
  deadline_ = asked == absl::InfiniteFuture() ? start_ + (method.max_deadline > absl::ZeroDuration()
                                                              ? longest
                                                              : pipeline.options_.default_deadline)
                                              : std::min(asked, start_ + longest);
}

void CallPipeline::Reactor::Answer(const absl::Status& status) {
  const std::string log_id = status.ok() ? std::string() : NewLogId();
  const absl::Duration time = absl::Now() - start_;
  // The access line. A message of ours holds ids, limits and field names, never what people wrote.
  if (status.ok()) {
    Log(LogLevel::kInfo, "call",
        {{"grpc.service", std::string(service_)},
         {"grpc.method", std::string(method_)},
         {"grpc.code", std::string("OK")},
         {"grpc.time_ms", absl::ToDoubleMilliseconds(time)},
         {"peer.address", context_->peer()},
         {"request_id", request_id_}});
  } else {
    Log(LevelOf(status.code()), "call",
        {{"grpc.service", std::string(service_)},
         {"grpc.method", std::string(method_)},
         {"grpc.code", CodeName(status.code())},
         {"grpc.time_ms", absl::ToDoubleMilliseconds(time)},
         {"peer.address", context_->peer()},
         {"request_id", request_id_},
         {"reason", DetailsOf(status).reason},
         {"error", std::string(status.message())},
         {"log_id", log_id}});
  }
  Finish(ToGrpcStatus(status, log_id));
}

}  // namespace parley::runtime
