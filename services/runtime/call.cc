#include "services/runtime/call.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "services/runtime/log.h"
#include "services/runtime/status_mapping.h"

namespace parley::runtime {
namespace {

constexpr std::size_t kMaxRequestIdLength = 64;  // a longer one is refused
constexpr std::size_t kMaxLoggedError = 512;     // bytes

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

// The caller's deadline, by this machine's clock; empty if there is none.
std::string DeadlineText(absl::Time now, const grpc::CallbackServerContext& context) {
  const absl::Time deadline = CallerDeadline(context);
  if (deadline == absl::InfiniteFuture()) return "";
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now() + (deadline - now),
                          absl::UTCTimeZone());
}

}  // namespace

absl::Time CallerDeadline(const grpc::CallbackServerContext& context) {
  // Not deadline(): its conversion overflows for a deadline in some centuries.
  const gpr_timespec left = gpr_convert_clock_type(context.raw_deadline(), GPR_TIMESPAN);
  if (gpr_time_cmp(left, gpr_inf_future(GPR_TIMESPAN)) == 0) return absl::InfiniteFuture();
  return SteadyNow() + absl::Seconds(left.tv_sec) + absl::Nanoseconds(left.tv_nsec);
}

absl::Status Call::CheckAlive() const {
  if (IsCancelled()) {
    return Error(absl::StatusCode::kCancelled, reason::kCancelled, "the caller has left");
  }
  if (SteadyNow() >= deadline_) {
    return Error(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded,
                 "the deadline passed before the work began");
  }
  return absl::OkStatus();
}

CallPipeline::UnaryCall::UnaryCall(const CallPipeline& pipeline, const MethodOptions& method,
                                   grpc::CallbackServerContext* context,
                                   grpc::ServerUnaryReactor* reactor)
    : Call(context),
      service_(pipeline.options_.service),
      method_(method.name),
      metrics_(pipeline.metrics_.Of(method.name)),
      reactor_(reactor),
      start_(SteadyNow()) {
  metrics_.Started();
  metrics_.Received();
  const absl::Duration longest = method.max_deadline > absl::ZeroDuration()
                                     ? method.max_deadline
                                     : pipeline.options_.max_deadline;
  const absl::Time asked = CallerDeadline(*context);
  deadline_ = asked == absl::InfiniteFuture() ? start_ + (method.max_deadline > absl::ZeroDuration()
                                                              ? longest
                                                              : pipeline.options_.default_deadline)
                                              : std::min(asked, start_ + longest);
}

absl::Status CallPipeline::UnaryCall::CheckBeforeHandler() const {
  PARLEY_RETURN_IF_ERROR(CheckAlive());
  return question_ == nullptr ? absl::OkStatus() : question_(deadline_);
}

absl::Status CallPipeline::UnaryCall::Examine(const CallPipeline& pipeline,
                                              const MethodOptions& method,
                                              const google::protobuf::Message& request) {
  PARLEY_ASSIGN_OR_RETURN(question_, pipeline.Examine(method, admission_, request));
  return absl::OkStatus();
}

void CallPipeline::UnaryCall::Answer(const absl::Status& status) {
  const std::string caller = admission_.caller == nullptr ? "" : admission_.caller->name;
  admission_.place.reset();  // before the caller can know of the end, and call again
  if (status.ok()) metrics_.Sent();
  reactor_->Finish(EndCall({metrics_, trace_, service_, method_, start_, request_id_, caller},
                           *context_, status));
}

absl::Status CallPipeline::Admit(const MethodOptions& method,
                                 const grpc::CallbackServerContext& context,
                                 Admission& admission) const {
  if (options_.gate != nullptr) {
    return options_.gate->Admit(context, options_.service, method.name, admission);
  }
  static const auto* const anybody = new std::shared_ptr<const Caller>(std::make_shared<Caller>());
  admission.caller = *anybody;
  return absl::OkStatus();
}

absl::StatusOr<Question> CallPipeline::Examine(const MethodOptions& method,
                                               const Admission& admission,
                                               const google::protobuf::Message& request) const {
  if (options_.gate == nullptr) return Question();
  return options_.gate->Examine(*admission.caller, options_.service, method.name, request);
}

grpc::Status EndCall(const AccessLine& line, grpc::CallbackServerContext& context,
                     const absl::Status& status) {
  const std::string log_id = status.ok() ? std::string() : NewLogId();
  const absl::Duration time = SteadyNow() - line.start;
  line.metrics.Handled(status.code(), time);
  // A message of ours holds ids, limits and names of fields, headers and queues, not what people
  // wrote; it is cut, because a caller may have made it long.
  const std::string deadline = DeadlineText(SteadyNow(), context);
  const absl::string_view request_id = CutText(line.request_id, kMaxRequestIdLength);
  if (status.ok()) {
    Log(LogLevel::kInfo, "call",
        {{"grpc.service", line.service},
         {"grpc.method", line.method},
         {"grpc.code", "OK"},
         {"grpc.time_ms", absl::ToDoubleMilliseconds(time)},
         {"peer.address", context.peer()},
         {"grpc.request.deadline", deadline},
         {"trace_id", line.trace.trace_id()},
         {"span_id", line.trace.span_id()},
         {"caller", line.caller},
         {"request_id", request_id}});
  } else {
    const ErrorDetails details = DetailsOf(status);
    if (details.retry_delay) {
      const std::int64_t ms = absl::ToInt64Milliseconds(*details.retry_delay) + 1;
      context.AddTrailingMetadata("grpc-retry-pushback-ms", absl::StrCat(ms));
    }
    Log(LevelOf(status.code()), "call",
        {{"grpc.service", line.service},
         {"grpc.method", line.method},
         {"grpc.code", CodeName(status.code())},
         {"grpc.time_ms", absl::ToDoubleMilliseconds(time)},
         {"peer.address", context.peer()},
         {"grpc.request.deadline", deadline},
         {"trace_id", line.trace.trace_id()},
         {"span_id", line.trace.span_id()},
         {"caller", line.caller},
         {"request_id", request_id},
         {"reason", details.reason},
         {"error", CutText(status.message(), kMaxLoggedError)},
         {"log_id", log_id}});
  }
  return ToGrpcStatus(status, log_id);
}

}  // namespace parley::runtime
