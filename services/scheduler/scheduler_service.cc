#include "services/scheduler/scheduler_service.h"

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fingerprint.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "services/runtime/page_token.h"
#include "services/scheduler/task_rules.h"

namespace parley::scheduler {
namespace {

// What a page token of ListTasks is bound to.
std::string ListBinding(const pb::ListTasksRequest& request) {
  return Fingerprint({"ListTasks", request.queue(), absl::StrCat(request.state())});
}

absl::StatusOr<std::int64_t> TaskIdFromToken(const pb::ListTasksRequest& request) {
  PARLEY_ASSIGN_OR_RETURN(const std::string position,
                          runtime::DecodePageToken(ListBinding(request), request.page_token()));
  std::int64_t id = 0;
  if (!absl::SimpleAtoi(position, &id)) return InternalError("a page token without a task id");
  return id;
}

}  // namespace

SchedulerService::SchedulerService(runtime::CallPipeline& calls, db::TaskRepository& tasks,
                                   Dispatcher& dispatcher, std::string default_zone)
    : calls_(calls),
      tasks_(tasks),
      dispatcher_(dispatcher),
      default_zone_(std::move(default_zone)) {}

grpc::ServerUnaryReactor* SchedulerService::CreateTask(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* in,
                                                       grpc::ByteBuffer* out) {
  return calls_.Unary<pb::CreateTaskRequest, pb::Task>(
      {.name = "CreateTask"}, context, in, out,
      [this](const runtime::Call& call, const pb::CreateTaskRequest& request) {
        return Create(call, request);
      });
}

absl::StatusOr<pb::Task> SchedulerService::Create(const runtime::Call& call,
                                                  const pb::CreateTaskRequest& request) {
  Violations violations;
  NewTask task = FromProto(request, violations);
  PrepareNewTask(default_zone_, task, violations);
  CheckRequestId(request.request_id(), violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const Task created,
                          tasks_.CreateTask(task,
                                            {.operation = "CreateTask",
                                             .id = request.request_id(),
                                             .fingerprint = FingerprintOf(request)},
                                            call.deadline()));
  if (created.state == TaskState::kPending) {
    dispatcher_.TaskReady(created.queue, created.run_time - created.create_time);
  }
  return ToProto(created);
}

grpc::ServerUnaryReactor* SchedulerService::GetTask(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* in,
                                                    grpc::ByteBuffer* out) {
  return calls_.Unary<pb::GetTaskRequest, pb::Task>(
      {.name = "GetTask"}, context, in, out,
      [this](const runtime::Call& call,
             const pb::GetTaskRequest& request) -> absl::StatusOr<pb::Task> {
        Violations violations;
        CheckTaskId(request.task_id(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_ASSIGN_OR_RETURN(const Task task,
                                tasks_.GetTask(request.task_id(), call.deadline()));
        return ToProto(task);
      });
}

grpc::ServerUnaryReactor* SchedulerService::ListTasks(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* in,
                                                      grpc::ByteBuffer* out) {
  return calls_.Unary<pb::ListTasksRequest, pb::ListTasksResponse>(
      {.name = "ListTasks"}, context, in, out,
      [this](const runtime::Call& call, const pb::ListTasksRequest& request) {
        return List(call, request);
      });
}

absl::StatusOr<pb::ListTasksResponse> SchedulerService::List(const runtime::Call& call,
                                                             const pb::ListTasksRequest& request) {
  Violations violations;
  db::TaskRepository::ListParams params;
  params.page.limit = request.limit();
  params.page.offset = request.offset();
  PrepareTaskPage(request.page_token(), request.offset(), params.page.limit, violations);
  CheckQueueFilter(request.queue(), violations);
  params.queue = request.queue();
  params.state = FilterFromProto(request.state(), violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  if (!request.page_token().empty()) {
    PARLEY_ASSIGN_OR_RETURN(params.page.after, TaskIdFromToken(request));
  }
  PARLEY_ASSIGN_OR_RETURN(const auto page, tasks_.ListTasks(params, call.deadline()));
  pb::ListTasksResponse response;
  for (const Task& task : page.rows) *response.add_tasks() = ToProto(task);
  if (page.next) {
    response.set_next_page_token(
        runtime::EncodePageToken(ListBinding(request), absl::StrCat(*page.next)));
  }
  return response;
}

grpc::ServerUnaryReactor* SchedulerService::CancelTask(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* in,
                                                       grpc::ByteBuffer* out) {
  return calls_.Unary<pb::CancelTaskRequest, pb::Task>(
      {.name = "CancelTask"}, context, in, out,
      [this](const runtime::Call& call,
             const pb::CancelTaskRequest& request) -> absl::StatusOr<pb::Task> {
        Violations violations;
        CheckTaskId(request.task_id(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_ASSIGN_OR_RETURN(const Task task,
                                tasks_.CancelTask(request.task_id(), call.deadline()));
        return ToProto(task);
      });
}

}  // namespace parley::scheduler
