#include "services/scheduler/push/grpc_pusher.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "services/runtime/status_mapping.h"
#include "services/runtime/trace.h"
#include "services/scheduler/push/push_rules.h"
#include "services/scheduler/push/push_token.h"

namespace parley::scheduler {
namespace {

constexpr absl::Duration kCallLease = absl::Seconds(30);
constexpr absl::Duration kExtendInterval = absl::Seconds(10);
constexpr absl::Duration kTendInterval = absl::Seconds(1);
constexpr absl::Duration kTendPatience = absl::Seconds(5);
constexpr absl::Duration kIdleWait = absl::Seconds(5);
constexpr absl::Duration kConnectingWait = absl::Milliseconds(50);

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  constexpr int kFirstBackoffMs = 200, kLongestBackoffMs = 5000;
  // A status with a long text is an error to be kept, not one of its own.
  constexpr int kMaxMetadata = 64 * 1024;
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstBackoffMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kFirstBackoffMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kLongestBackoffMs);
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadata);
  // A failed call is a failed attempt, and only the queue's policy says what follows.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

// What is stored of a status. gRPC's own texts about connections have addresses in them.
std::string ErrorOf(const grpc::Status& status) {
  const std::string code = runtime::CodeName(static_cast<absl::StatusCode>(status.error_code()));
  const std::string& text = status.error_message();
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE &&
      (absl::StrContains(text, "ipv4:") || absl::StrContains(text, "ipv6:") ||
       absl::StrContains(text, "failed to connect"))) {
    return absl::StrCat(code, ": the connection to the handler was lost");
  }
  return text.empty() ? code : absl::StrCat(code, ": ", text);
}

// A span of the trace that the task's creator has named in its headers, or of a new one.
runtime::TraceContext TraceOf(const Task& task) {
  const auto header = [&](const char* name) -> absl::string_view {
    const auto found = task.headers.find(name);
    return found == task.headers.end() ? absl::string_view() : found->second;
  };
  return runtime::TraceContext::Continue(header("traceparent"), header("tracestate"));
}

}  // namespace

GrpcPusher::GrpcPusher(const PushParts& parts, HandlerQueue queue)
    : parts_(parts),
      queue_(std::move(queue)),
      channel_(MakeChannel(queue_.address)),
      stub_(pb::TaskHandler::NewStub(channel_)),
      settler_(parts_, stop_),
      inbox_(parts_.dispatcher, {.queue = queue_.queue,
                                 .lease_duration = kCallLease,
                                 .token_prefix = PushTokenPrefix({"grpc", queue_.address})}),
      outage_(queue_.queue, queue_.target),
      thread_([this] { Run(); }) {}

GrpcPusher::~GrpcPusher() {
  if (!stop_.stopped()) Stop(absl::InfinitePast());
  thread_.join();
}

void GrpcPusher::Stop(absl::Time finish_by) {
  {
    MutexLock lock(mutex_);
    finish_by_ = std::min(finish_by_, finish_by);
  }
  stop_.Stop();
  inbox_.Wake();
}

bool GrpcPusher::HasFinished() {
  MutexLock lock(mutex_);
  return finished_;
}

bool GrpcPusher::IsConnected() const {
  return channel_->GetState(/*try_to_connect=*/true) == GRPC_CHANNEL_READY;
}

void GrpcPusher::Run() {
  while (!stop_.stopped() || !calls_.empty()) {
    Conclude();
    Tend();
    const std::optional<LeasedTasks> leased = inbox_.Wait(SteadyNow() + Ask());
    if (!leased.has_value()) continue;
    if (stop_.stopped() || !IsConnected()) {
      Release(*leased);
    } else {
      Begin(*leased);
    }
  }
  if (const std::optional<LeasedTasks> left = inbox_.Close()) Release(*left);
  MutexLock lock(mutex_);
  finished_ = true;
}

absl::Duration GrpcPusher::Ask() {
  if (stop_.stopped()) {
    inbox_.Unask();
    MutexLock lock(mutex_);
    const absl::Duration left = finish_by_ - SteadyNow();
    return left > absl::ZeroDuration() ? std::min(left, kTendInterval) : kTendInterval;
  }
  const absl::Duration wait = calls_.empty() ? kIdleWait : kTendInterval;
  switch (channel_->GetState(/*try_to_connect=*/true)) {
    case GRPC_CHANNEL_READY: {
      outage_.End();
      const auto room = queue_.delivery.max_calls - static_cast<std::int32_t>(calls_.size());
      if (room > 0) inbox_.Ask(room);
      return wait;
    }
    case GRPC_CHANNEL_TRANSIENT_FAILURE:
      inbox_.Unask();
      return std::min(kTendInterval, outage_.Note(absl::UnavailableError("it cannot be reached")));
    default:  // it is connecting
      inbox_.Unask();
      return kConnectingWait;
  }
}

void GrpcPusher::Begin(const LeasedTasks& leased) {
  if (calls_.empty()) extend_at_ = SteadyNow() + std::min(kExtendInterval, leased.lease_left / 3);
  for (const Task& task : leased.tasks) {
    auto call = std::make_unique<Call>();
    Call* const at = call.get();
    at->lease = {task.id, leased.token};
    *at->request.mutable_task() = scheduler::ToProto(task);
    at->context.set_deadline(absl::ToChronoTime(absl::Now() + queue_.delivery.timeout));
    const runtime::TraceContext trace = TraceOf(task);
    at->context.AddMetadata("traceparent", trace.traceparent());
    if (!trace.tracestate().empty()) at->context.AddMetadata("tracestate", trace.tracestate());
    calls_[at] = std::move(call);
    stub_->async()->Handle(&at->context, &at->request, &at->response,
                           [this, at](grpc::Status status) {
                             at->status = std::move(status);
                             OnOver(at);
                           });
  }
}

void GrpcPusher::Release(const LeasedTasks& leased) {
  std::vector<AttemptEnd> ends;
  for (const Task& task : leased.tasks) {
    ends.push_back({.lease = {task.id, leased.token}, .kind = AttemptEnd::Kind::kReleased});
  }
  settler_.End(std::move(ends));
}

void GrpcPusher::OnOver(Call* call) {
  MutexLock lock(mutex_);
  over_.push_back(call);
  inbox_.Wake();
}

void GrpcPusher::Conclude() {
  std::vector<Call*> over;
  {
    MutexLock lock(mutex_);
    over.swap(over_);
  }
  std::vector<db::TaskAck> acks;
  std::vector<AttemptEnd> ends;
  for (Call* const ended : over) {
    const std::unique_ptr<Call> call = std::move(calls_.extract(ended).mapped());
    AttemptEnd end = {.lease = call->lease};
    if (call->given_up && !call->status.ok()) {
      end.kind = AttemptEnd::Kind::kReleased;
    } else if (!call->status.ok()) {
      end.error = ErrorOf(call->status);
    } else if (call->response.has_failure()) {
      end.error = call->response.failure().error();
      if (call->response.failure().for_good()) end.kind = AttemptEnd::Kind::kFailedForGood;
    } else if (!IsStorableResult(call->response.result())) {
      end.kind = AttemptEnd::Kind::kFailedForGood;
      end.error = "the handler's result has more than 256 KiB";
    } else {
      acks.push_back({call->lease.task_id, call->lease.token, call->response.result()});
      continue;
    }
    ends.push_back(std::move(end));
  }
  settler_.Ack(acks);
  settler_.End(std::move(ends));
}

void GrpcPusher::Tend() {
  const absl::Time now = SteadyNow();
  if (stop_.stopped()) {
    MutexLock lock(mutex_);
    if (now >= finish_by_) CancelAll();
  }
  if (calls_.empty() || now < tend_at_) return;
  tend_at_ = now + kTendInterval;
  std::vector<std::int64_t> ids;
  std::vector<db::TaskRepository::Extension> extensions;
  for (const auto& [at, call] : calls_) {
    ids.push_back(call->lease.task_id);
    extensions.push_back({call->lease, kCallLease});
  }
  const bool extend = now >= extend_at_;
  const auto running = extend ? parts_.tasks.ExtendLeases(extensions, now + kTendPatience)
                              : parts_.tasks.FindRunning(ids, now + kTendPatience);
  if (!running.ok()) return;  // the dispatcher tells of an outage
  if (extend) extend_at_ = now + kExtendInterval;
  for (const auto& [at, call] : calls_) {
    const auto found = running->find(call->lease.task_id);
    if (found == running->end() || found->second.token != call->lease.token ||
        found->second.cancel_requested) {
      call->context.TryCancel();
    }
  }
}

void GrpcPusher::CancelAll() {
  for (const auto& [at, call] : calls_) {
    call->given_up = true;
    call->context.TryCancel();
  }
}

}  // namespace parley::scheduler
