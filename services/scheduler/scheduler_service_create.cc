// The part of SchedulerService that creates tasks.
#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "services/runtime/log.h"
#include "services/runtime/request_parser.h"
#include "services/runtime/status_mapping.h"
#include "services/scheduler/scheduler_service.h"
#include "services/scheduler/task_rules.h"

namespace parley::scheduler {
namespace {

using db::CreatedTask;
using Outcomes = db::TaskCreator::Outcomes;

constexpr int kMaxBatch = 1000;

pb::BatchCreateTasksResponse::Result ResultOf(const runtime::Call& call,
                                              const absl::StatusOr<CreatedTask>& outcome) {
  pb::BatchCreateTasksResponse::Result result;
  if (outcome.ok()) {
    result.set_task_id(outcome->id);
    return result;
  }
  if (outcome.status().code() == absl::StatusCode::kInternal) {
    runtime::Log(runtime::LogLevel::kError, "a task of a batch failed",
                 {{"trace_id", call.trace().trace_id()},
                  {"span_id", call.trace().span_id()},
                  {"error", std::string(outcome.status().message())}});
  }
  *result.mutable_error() = runtime::ToRpcStatus(outcome.status(), "BatchCreateTasks");
  return result;
}

}  // namespace

db::CreateTaskParams SchedulerService::ParamsOf(const pb::CreateTaskRequest& request,
                                                Violations& violations) const {
  db::CreateTaskParams params = {.task = FromProto(request, violations),
                                 .request_id = request.request_id(),
                                 .fingerprint = {}};
  PrepareNewTask(parts_.default_zone, params.task, violations);
  CheckRequestId(request.request_id(), violations);
  if (!params.request_id.empty()) params.fingerprint = FingerprintOf(request);
  return params;
}

grpc::ServerUnaryReactor* SchedulerService::CreateTask(Context* context, const Bytes* in,
                                                       Bytes* out) {
  return calls_.UnaryNow<pb::CreateTaskRequest, pb::Task>(
      {.name = "CreateTask"}, context, in, out,
      [this](const runtime::Call& call, const pb::CreateTaskRequest& request, Done<pb::Task> done) {
        Create(call, request, std::move(done));
      });
}

void SchedulerService::Create(const runtime::Call& call, const pb::CreateTaskRequest& request,
                              Done<pb::Task> done) {
  Violations violations;
  db::CreateTaskParams params = ParamsOf(request, violations);
  if (!violations.empty()) return done(violations.ToStatus());
  if (params.task.dedupe) return CreateKeyed(call, std::move(params), done);
  // The request lives until it is answered; what the rules have made of it is kept for the answer.
  auto answer = [this, &call, task = params.task,
                 done = std::move(done)](const Outcomes& outcomes) {
    const absl::StatusOr<CreatedTask>& created = outcomes.front();
    if (!created.ok()) return done(created.status());
    if (!created->is_new) return AnswerWithEarlier(call, created->id, done);
    parts_.dispatcher.TaskReady(task.queue, created->run_time - created->create_time);
    Task shown = TaskAsCreated(task, created->id, created->run_time, created->create_time);
    shown.max_attempts = created->max_attempts;
    done(ToProto(shown));
  };
  std::vector<db::CreateTaskParams> tasks;
  tasks.push_back(std::move(params));
  parts_.creator.Create(std::move(tasks), call.deadline(), std::move(answer),
                        [&call] { return call.IsCancelled(); });
}

void SchedulerService::CreateKeyed(const runtime::Call& call, db::CreateTaskParams params,
                                   const Done<pb::Task>& done) {
  const bool queued = parts_.executor.Submit([this, &call, params = std::move(params), done] {
    const absl::Status alive = call.CheckAlive();
    if (!alive.ok()) return done(alive);
    const absl::StatusOr<Task> task = parts_.keyed_creator.CreateOne(params, call.deadline());
    if (!task.ok()) return done(task.status());
    TellIfPending(*task);
    done(ToProto(*task));
  });
  if (!queued) done(runtime::QueueFullError());
}

void SchedulerService::AnswerWithEarlier(const runtime::Call& call, std::int64_t id,
                                         const Done<pb::Task>& done) {
  const bool queued = parts_.executor.Submit([this, &call, id, done] {
    const absl::StatusOr<Task> task = parts_.tasks.GetTask(id, call.deadline());
    if (!task.ok()) return done(task.status());
    done(ToProto(*task));
  });
  if (!queued) done(runtime::QueueFullError());
}

grpc::ServerUnaryReactor* SchedulerService::BatchCreateTasks(Context* context, const Bytes* in,
                                                             Bytes* out) {
  return calls_.UnaryNow<pb::BatchCreateTasksRequest, pb::BatchCreateTasksResponse>(
      {.name = "BatchCreateTasks"}, context, in, out,
      [this](const runtime::Call& call, const pb::BatchCreateTasksRequest& request,
             Done<pb::BatchCreateTasksResponse> done) {
        BatchCreate(call, request, std::move(done));
      });
}

void SchedulerService::BatchCreate(const runtime::Call& call,
                                   const pb::BatchCreateTasksRequest& request,
                                   Done<pb::BatchCreateTasksResponse> done) {
  Violations size;
  if (request.requests().empty()) size.Add("requests", "must not be empty");
  if (request.requests_size() > kMaxBatch) {
    size.Add("requests", absl::StrCat("must be at most ", kMaxBatch));
  }
  if (!size.empty()) return done(size.ToStatus());

  std::vector<db::CreateTaskParams> good;
  std::vector<absl::Status> refused(static_cast<std::size_t>(request.requests_size()));
  std::map<std::string, absl::Duration>
      ready;  // by queue, when its first task is due at the latest
  for (int i = 0; i < request.requests_size(); ++i) {
    Violations violations;
    violations.SetPrefix(absl::StrCat("requests[", i, "]."));
    db::CreateTaskParams params = ParamsOf(request.requests(i), violations);
    refused[static_cast<std::size_t>(i)] = violations.ToStatus();
    if (!violations.empty()) continue;
    const bool now = !params.task.run_time && params.task.delay <= absl::ZeroDuration();
    absl::Duration& due = ready.try_emplace(params.task.queue, absl::Seconds(1)).first->second;
    if (now) due = absl::ZeroDuration();
    good.push_back(std::move(params));
  }
  auto answer = [this, &call, refused, ready = std::move(ready),
                 done = std::move(done)](const Outcomes& outcomes) {
    for (const auto& [queue, due_in] : ready) parts_.dispatcher.TaskReady(queue, due_in);
    pb::BatchCreateTasksResponse response;
    auto outcome = outcomes.begin();
    for (const absl::Status& status : refused) {
      *response.add_results() =
          ResultOf(call, status.ok() ? *outcome++ : absl::StatusOr<CreatedTask>(status));
    }
    done(std::move(response));
  };
  if (good.empty()) return answer({});
  Write(call, std::move(good), answer);
}

void SchedulerService::Write(const runtime::Call& call, std::vector<db::CreateTaskParams> tasks,
                             const std::function<void(Outcomes)>& done) {
  const bool keyed = std::any_of(
      tasks.begin(), tasks.end(),
      [](const db::CreateTaskParams& params) { return params.task.dedupe.has_value(); });
  if (!keyed) {
    return parts_.creator.Create(std::move(tasks), call.deadline(), done,
                                 [&call] { return call.IsCancelled(); });
  }
  const std::size_t count = tasks.size();
  const bool queued = parts_.executor.Submit([this, &call, tasks = std::move(tasks), done] {
    const absl::Status alive = call.CheckAlive();
    done(alive.ok() ? parts_.keyed_creator.Create(tasks, call.deadline())
                    : Outcomes(tasks.size(), alive));
  });
  if (!queued) done(Outcomes(count, runtime::QueueFullError()));
}

}  // namespace parley::scheduler
