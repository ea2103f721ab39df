// What one parley-schedulerd holds, in the test's process: two of them on one database are two
// replicas.
#pragma once

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/core/listener.h"
#include "db/core/session_pool.h"
#include "db/repository/queue_repository.h"
#include "db/repository/task_repository.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "services/runtime/call.h"
#include "services/runtime/executor.h"
#include "services/runtime/wire.h"
#include "services/scheduler/dispatcher.h"
#include "services/scheduler/end_watch.h"
#include "services/scheduler/queue_service.h"
#include "services/scheduler/reaper.h"
#include "services/scheduler/schedule_service.h"
#include "services/scheduler/scheduler_service.h"
#include "services/scheduler/ticker.h"
#include "services/scheduler/worker_service.h"
#include "services/scheduler/zone_follower.h"
#include "tests/service/parked.h"
#include "tests/support/temp_database.h"

namespace parley::testing {

namespace pb = ::parley::scheduler::v1;

class SchedulerProcess {
 public:
  // How often it looks for what it may not have heard of.
  struct Looks {
    absl::Duration at_ends = scheduler::EndWatch::kLookInterval;
    absl::Duration at_schedules = scheduler::Ticker::kLookInterval;
    absl::Duration at_tasks = scheduler::Dispatcher::kLookInterval;
  };

  explicit SchedulerProcess(const TempDatabase& database) : SchedulerProcess(database, Looks()) {}
  SchedulerProcess(const TempDatabase& database, const Looks& looks)
      : dsn_(database.dsn()),
        pool_(database.dsn(), PoolOptions()),
        dispatcher_(tasks_, db::TaskClaimer(dsn_), looks.at_tasks),
        ticker_({schedule_repository_, dispatcher_, looks.at_schedules}),
        end_watch_(tasks_, {looks.at_ends, [this] { ticker_.TasksEnded(); }}),
        listener_(Listen(database)) {
    grpc::ServerBuilder builder;
    builder.RegisterService(&scheduler_service_);
    builder.RegisterService(&schedule_service_);
    builder.RegisterService(&worker_service_);
    builder.RegisterService(&queue_service_);
    server_ = builder.BuildAndStart();
    const auto channel = server_->InProcessChannel(grpc::ChannelArguments());
    scheduler_ = pb::SchedulerService::NewStub(channel);
    schedules_ = pb::ScheduleService::NewStub(channel);
    worker_ = pb::WorkerService::NewStub(channel);
    queue_ = pb::QueueService::NewStub(channel);
  }

  ~SchedulerProcess() {
    dispatcher_.Drain();
    hub_.Drain();
    end_watch_.Drain();
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(5));
  }

  pb::SchedulerService::Stub& scheduler() { return *scheduler_; }
  pb::ScheduleService::Stub& schedules() { return *schedules_; }
  pb::WorkerService::Stub& worker() { return *worker_; }
  pb::QueueService::Stub& queue() { return *queue_; }

 private:
  static db::PoolOptions PoolOptions() {
    db::PoolOptions options;
    options.size = 9;
    return options;
  }
  std::unique_ptr<db::Listener> Listen(const TempDatabase& database) {
    return std::make_unique<db::Listener>(
        database.dsn(), db::kTaskChannel,
        [this](absl::string_view queue) { dispatcher_.Hint(queue); });
  }
  static runtime::CallPipeline::Options CallOptions(const std::string& service) {
    runtime::CallPipeline::Options options;
    options.service = service;
    return options;
  }

  const db::Dsn dsn_;
  db::SessionPool pool_;
  db::TaskRepository tasks_{pool_};
  db::QueueRepository queues_{pool_};
  scheduler::Dispatcher dispatcher_;
  db::ScheduleRepository schedule_repository_{pool_};
  scheduler::Ticker ticker_;
  scheduler::ZoneFollower zone_follower_{{schedule_repository_, tasks_, dispatcher_}};
  scheduler::EndWatch end_watch_;
  db::TaskCreator creator_{dsn_, {}};
  db::KeyedTaskCreator keyed_creator_{pool_};
  db::TaskAcker acker_{
      dsn_,
      {.on_ended = [this](const auto& ids) { end_watch_.TasksEnded(ids); },
       .on_room = [this](absl::string_view queue) { dispatcher_.QueueChanged(queue); }}};
  scheduler::Reaper reaper_{{tasks_, queues_, dispatcher_}, {.history_days = 14}};
  std::unique_ptr<db::Listener> listener_;
  runtime::Executor executor_{{.threads = 4, .queue = 200}};
  runtime::CallPipeline scheduler_calls_{CallOptions("parley.scheduler.v1.SchedulerService"),
                                         executor_};
  runtime::CallPipeline worker_calls_{CallOptions("parley.scheduler.v1.WorkerService"), executor_};
  const scheduler::WorkerParts workers_ = {tasks_, acker_, dispatcher_, end_watch_, executor_};
  scheduler::WorkHub hub_{workers_};
  scheduler::SchedulerService scheduler_service_{
      scheduler_calls_,
      {tasks_, creator_, keyed_creator_, dispatcher_, end_watch_, executor_, "Europe/Berlin",
       [this] { hub_.Hint(); }}};
  scheduler::WorkerService worker_service_{worker_calls_, workers_, hub_};
  runtime::CallPipeline queue_calls_{CallOptions("parley.scheduler.v1.QueueService"), executor_};
  scheduler::QueueService queue_service_{
      queue_calls_, {queues_, dispatcher_, *scheduler::ParsePushTargets("handler=grpc://[::1]:1")}};
  runtime::CallPipeline schedule_calls_{CallOptions("parley.scheduler.v1.ScheduleService"),
                                        executor_};
  scheduler::ScheduleService schedule_service_{
      schedule_calls_, {schedule_repository_, ticker_, dispatcher_, "Europe/Berlin"}};
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<pb::SchedulerService::Stub> scheduler_;
  std::unique_ptr<pb::ScheduleService::Stub> schedules_;
  std::unique_ptr<pb::WorkerService::Stub> worker_;
  std::unique_ptr<pb::QueueService::Stub> queue_;
};

// A database with one process on it.
class SchedulerTest : public ::testing::Test {
 protected:
  SchedulerTest() : SchedulerTest(SchedulerProcess::Looks()) {}
  explicit SchedulerTest(const SchedulerProcess::Looks& looks) : process_(database_, looks) {}

  static pb::CreateTaskRequest NewTaskRequest(const std::string& queue = "q") {
    pb::CreateTaskRequest request;
    request.set_queue(queue);
    request.set_name("work");
    return request;
  }

  static grpc::Status Create(SchedulerProcess& process, const pb::CreateTaskRequest& request,
                             pb::Task* task) {
    grpc::ClientContext context;
    return process.scheduler().CreateTask(&context, request, task);
  }

  static pb::Task Create(SchedulerProcess& process, const pb::CreateTaskRequest& request) {
    pb::Task task;
    const grpc::Status status = Create(process, request, &task);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return task;
  }

  // The leases that a worker of `process` gets; fails the test if the call fails.
  static std::vector<pb::Lease> Lease(SchedulerProcess& process, const std::string& queue,
                                      absl::Duration wait_for, std::int32_t max_tasks = 1,
                                      absl::Duration lease_duration = absl::Seconds(30)) {
    pb::LeaseTasksRequest request;
    request.add_queues(queue);
    request.set_max_tasks(max_tasks);
    *request.mutable_wait_for() = runtime::ToDuration(wait_for);
    *request.mutable_lease_duration() = runtime::ToDuration(lease_duration);
    grpc::ClientContext context;
    pb::LeaseTasksResponse response;
    const grpc::Status status = process.worker().LeaseTasks(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return {response.leases().begin(), response.leases().end()};
  }

  static grpc::Status Ack(SchedulerProcess& process, const pb::Lease& lease, pb::Task* task) {
    pb::AckTaskRequest request;
    request.set_task_id(lease.task().id());
    request.set_lease_token(lease.lease_token());
    grpc::ClientContext context;
    return process.worker().AckTask(&context, request, task);
  }

  static google::rpc::Status Details(const grpc::Status& status) {
    google::rpc::Status details;
    EXPECT_TRUE(details.ParseFromString(status.error_details()));
    return details;
  }

  static std::string Reason(const grpc::Status& status) {
    const google::rpc::Status details = Details(status);
    for (const auto& detail : details.details()) {
      google::rpc::ErrorInfo info;
      if (detail.UnpackTo(&info)) return info.reason();
    }
    return "";
  }

  static std::vector<std::string> Fields(const grpc::Status& status) {
    std::vector<std::string> fields;
    const google::rpc::Status details = Details(status);
    for (const auto& detail : details.details()) {
      google::rpc::BadRequest bad_request;
      if (!detail.UnpackTo(&bad_request)) continue;
      for (const auto& violation : bad_request.field_violations()) {
        fields.push_back(violation.field());
      }
    }
    return fields;
  }

  TempDatabase database_;
  SchedulerProcess process_;
};

}  // namespace parley::testing
