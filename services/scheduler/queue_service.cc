#include "services/scheduler/queue_service.h"

#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/fingerprint.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "services/runtime/page_token.h"
#include "services/runtime/wire.h"
#include "services/scheduler/queue_rules.h"

namespace parley::scheduler {
namespace {

constexpr std::int32_t kPurgeBatch = 1000;
// A purge takes no further step so shortly before its deadline, so that the answer reaches the
// caller.
constexpr absl::Duration kPurgeMargin = absl::Milliseconds(300);

}  // namespace

absl::StatusOr<pb::Queue> QueueService::Changed(const absl::StatusOr<Queue>& queue) {
  if (!queue.ok()) return queue.status();
  parts_.dispatcher.QueueChanged(queue->name);
  parts_.on_change();
  return ToProto(*queue);
}

void QueueService::CheckTarget(const pb::QueueTarget& wanted, const QueueSettings& settings,
                               Violations& violations) const {
  // What is missing has been said.
  if (!settings.target || wanted.name().empty() ||
      wanted.delivery_case() == pb::QueueTarget::DELIVERY_NOT_SET) {
    return;
  }
  const absl::Status status = CheckDeliverable(parts_.targets, *settings.target);
  if (!status.ok()) violations.Add("queue.target.name", status.message());
}

grpc::ServerUnaryReactor* QueueService::CreateQueue(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<pb::CreateQueueRequest, pb::Queue>(
      {.name = "CreateQueue"}, context, in, out,
      [this](const runtime::Call& call, const pb::CreateQueueRequest& request) {
        return Create(call, request);
      });
}

absl::StatusOr<pb::Queue> QueueService::Create(const runtime::Call& call,
                                               const pb::CreateQueueRequest& request) {
  Violations violations;
  CheckOpenQueue("queue.name", request.queue().name(), violations);
  db::QueueRepository::CreateParams params;
  params.name = request.queue().name();
  params.settings = SettingsFromProto(request.queue(), violations);
  PrepareQueueSettings(params.settings, violations);
  CheckTarget(request.queue().target(), params.settings, violations);
  CheckRequestId(request.request_id(), violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  params.request_id = request.request_id();
  params.fingerprint = FingerprintOf(request);
  return Changed(parts_.queues.Create(params, call.deadline()));
}

grpc::ServerUnaryReactor* QueueService::GetQueue(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<pb::GetQueueRequest, pb::Queue>(
      {.name = "GetQueue"}, context, in, out,
      [this](const runtime::Call& call,
             const pb::GetQueueRequest& request) -> absl::StatusOr<pb::Queue> {
        Violations violations;
        CheckQueue("queue", request.queue(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_ASSIGN_OR_RETURN(const Queue queue,
                                parts_.queues.Get(request.queue(), call.deadline()));
        return ToProto(queue);
      });
}

grpc::ServerUnaryReactor* QueueService::ListQueues(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<pb::ListQueuesRequest, pb::ListQueuesResponse>(
      {.name = "ListQueues"}, context, in, out,
      [this](const runtime::Call& call, const pb::ListQueuesRequest& request) {
        return List(call, request);
      });
}

absl::StatusOr<pb::ListQueuesResponse> QueueService::List(const runtime::Call& call,
                                                          const pb::ListQueuesRequest& request) {
  Violations violations;
  const std::string binding = Fingerprint({"ListQueues"});
  const runtime::PageRequest page = runtime::CheckPage(
      {request.limit(), request.offset(), request.page_token()}, binding, {}, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(
      const auto queues,
      parts_.queues.List({page.limit, page.offset, page.position}, call.deadline()));
  pb::ListQueuesResponse response;
  for (const Queue& queue : queues.rows) *response.add_queues() = ToProto(queue);
  if (queues.next) response.set_next_page_token(runtime::EncodePageToken(binding, *queues.next));
  return response;
}

grpc::ServerUnaryReactor* QueueService::UpdateQueue(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<pb::UpdateQueueRequest, pb::Queue>(
      {.name = "UpdateQueue"}, context, in, out,
      [this](const runtime::Call& call, const pb::UpdateQueueRequest& request) {
        return Update(call, request);
      });
}

absl::StatusOr<pb::Queue> QueueService::Update(const runtime::Call& call,
                                               const pb::UpdateQueueRequest& request) {
  Violations violations;
  CheckOpenQueue("queue.name", request.queue().name(), violations);
  QueueUpdate update = FromProto(request, violations);
  PrepareQueueSettings(update.settings, violations);
  CheckTarget(request.queue().target(), update.settings, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  return Changed(parts_.queues.Update({.name = request.queue().name(),
                                       .change = ChangeOf(update),
                                       .version = runtime::VersionFromEtag(request.queue().etag())},
                                      call.deadline()));
}

grpc::ServerUnaryReactor* QueueService::PauseQueue(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<pb::PauseQueueRequest, pb::Queue>(
      {.name = "PauseQueue"}, context, in, out,
      [this](const runtime::Call& call,
             const pb::PauseQueueRequest& request) -> absl::StatusOr<pb::Queue> {
        Violations violations;
        CheckOpenQueue("queue", request.queue(), violations);
        CheckPauseNote(request.note(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        return Changed(parts_.queues.Pause(request.queue(), request.note(), call.deadline()));
      });
}

grpc::ServerUnaryReactor* QueueService::ResumeQueue(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<pb::ResumeQueueRequest, pb::Queue>(
      {.name = "ResumeQueue"}, context, in, out,
      [this](const runtime::Call& call,
             const pb::ResumeQueueRequest& request) -> absl::StatusOr<pb::Queue> {
        Violations violations;
        CheckOpenQueue("queue", request.queue(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        return Changed(parts_.queues.Resume(request.queue(), call.deadline()));
      });
}

grpc::ServerUnaryReactor* QueueService::PurgeQueue(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<pb::PurgeQueueRequest, pb::PurgeQueueResponse>(
      {.name = "PurgeQueue"}, context, in, out,
      [this](const runtime::Call& call, const pb::PurgeQueueRequest& request) {
        return Purge(call, request);
      });
}

absl::StatusOr<pb::PurgeQueueResponse> QueueService::Purge(const runtime::Call& call,
                                                           const pb::PurgeQueueRequest& request) {
  Violations violations;
  CheckOpenQueue("queue", request.queue(), violations);
  const TaskState state = PurgedStateFromProto(request, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  db::QueueRepository::PurgeParams params = {.name = request.queue(), .max_tasks = kPurgeBatch};
  PARLEY_ASSIGN_OR_RETURN(params.up_to, parts_.queues.GetLastTaskId(call.deadline()));
  pb::PurgeQueueResponse response;
  do {
    PARLEY_RETURN_IF_ERROR(call.CheckAlive());
    PARLEY_ASSIGN_OR_RETURN(const auto purged,
                            state == TaskState::kDead
                                ? parts_.queues.PurgeDead(params, call.deadline())
                                : parts_.queues.Purge(params, call.deadline()));
    response.set_task_count(response.task_count() + purged.count);
    response.set_done(purged.last_id == 0);
    params.after = purged.last_id;
  } while (!response.done() && SteadyNow() + kPurgeMargin < call.deadline());
  return response;
}

grpc::ServerUnaryReactor* QueueService::GetQueueStats(Context* context, const Bytes* in,
                                                      Bytes* out) {
  return calls_.Unary<pb::GetQueueStatsRequest, pb::QueueStats>(
      {.name = "GetQueueStats"}, context, in, out,
      [this](const runtime::Call& call,
             const pb::GetQueueStatsRequest& request) -> absl::StatusOr<pb::QueueStats> {
        Violations violations;
        CheckQueue("queue", request.queue(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_ASSIGN_OR_RETURN(const QueueStats stats,
                                parts_.queues.GetStats(request.queue(), call.deadline()));
        return ToProto(request.queue(), stats);
      });
}

}  // namespace parley::scheduler
