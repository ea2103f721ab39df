#include "bench/fill.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "bench/workload.h"
#include "parley/scheduler/v1/scheduler_service.grpc.pb.h"

namespace parley::bench {
namespace {

namespace pb = scheduler::v1;

constexpr std::int64_t kTasksInACall = 1000;
constexpr int kFillers = 2;  // while one's tasks are written, the other's are made
constexpr absl::Duration kFillPause = absl::Milliseconds(20);  // after being refused
constexpr std::chrono::seconds kFillPatience{60};

// Creates its share of the tasks, call by call.
class Filler {
 public:
  // `from`: InfinitePast is at once.
  Filler(const FillOptions& options, absl::Time from)
      : options_(options),
        from_(from),
        stub_(pb::SchedulerService::NewStub(OpenChannel(options.target))) {}

  absl::Status Run(std::atomic<std::int64_t>& left) {
    absl::Status status;
    while (status.ok()) {
      const std::int64_t before = left.fetch_sub(kTasksInACall);
      if (before <= 0) break;
      status = Create(std::min(before, kTasksInACall));
    }
    return status;
  }

 private:
  absl::Status Create(std::int64_t count) {
    pb::BatchCreateTasksRequest request;
    for (std::int64_t i = 0; i < count; ++i) {
      pb::CreateTaskRequest& task = *request.add_requests();
      FillNoop(options_.queue, task);
      if (from_ != absl::InfinitePast()) SetTime(*task.mutable_run_time());
    }
    while (true) {
      const absl::StatusOr<pb::BatchCreateTasksRequest> refused = Call(request);
      if (!refused.ok()) return refused.status();
      if (refused->requests().empty()) return absl::OkStatus();
      request = *refused;
      absl::SleepFor(kFillPause);
    }
  }

  // The tasks that are to be tried again, as too many others wait.
  absl::StatusOr<pb::BatchCreateTasksRequest> Call(const pb::BatchCreateTasksRequest& request) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + kFillPatience);
    pb::BatchCreateTasksResponse response;
    const grpc::Status status = stub_->BatchCreateTasks(&context, request, &response);
    if (!status.ok()) {
      return absl::UnavailableError(absl::StrCat("BatchCreateTasks answered ", status.error_code(),
                                                 ": ", status.error_message()));
    }
    pb::BatchCreateTasksRequest refused;
    for (int i = 0; i < response.results_size(); ++i) {
      const pb::BatchCreateTasksResponse::Result& result = response.results(i);
      if (result.task_id() > 0) continue;
      if (result.error().code() != grpc::StatusCode::RESOURCE_EXHAUSTED) {
        return absl::UnavailableError(
            absl::StrCat("a task was not created: ", result.error().message()));
      }
      *refused.add_requests() = request.requests(i);
    }
    return refused;
  }

  void SetTime(google::protobuf::Timestamp& time) {
    const double part = std::uniform_real_distribution<double>(0, 1)(random_);
    const std::int64_t nanos = absl::ToUnixNanos(from_ + part * options_.over);
    time.set_seconds(nanos / 1'000'000'000);
    time.set_nanos(static_cast<std::int32_t>(nanos % 1'000'000'000));
  }

  const FillOptions& options_;
  const absl::Time from_;
  const std::unique_ptr<pb::SchedulerService::Stub> stub_;
  std::mt19937_64 random_{std::random_device{}()};
};

}  // namespace

absl::Status Fill(const FillOptions& options) {
  const absl::Duration none = absl::ZeroDuration();
  const bool at_once = options.from == none && options.over == none;
  const absl::Time from = at_once ? absl::InfinitePast() : absl::Now() + options.from;
  std::atomic<std::int64_t> left{options.tasks};
  std::vector<absl::Status> results(kFillers);
  std::vector<std::thread> threads;
  for (absl::Status& result : results) {
    threads.emplace_back([&] { result = Filler(options, from).Run(left); });
  }
  for (std::thread& thread : threads) thread.join();
  absl::Status status;
  for (const absl::Status& result : results) status.Update(result);
  if (status.ok() && !at_once && absl::Now() > from) {
    return absl::FailedPreconditionError("tasks were due before all were there; begin later");
  }
  return status;
}

}  // namespace parley::bench
