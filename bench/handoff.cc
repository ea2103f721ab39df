#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "bench/work.h"
#include "bench/worker.h"
#include "bench/workload.h"
#include "parley/scheduler/v1/scheduler_service.grpc.pb.h"

namespace parley::bench {
namespace {

namespace pb = scheduler::v1;

constexpr std::chrono::seconds kHandoffPatience{10};
constexpr absl::Duration kSettleLook = absl::Milliseconds(1);

// A producer and a worker with one task between them at a time.
class Handoff {
 public:
  explicit Handoff(const HandoffOptions& options)
      : options_(options),
        worker_({options.target, options.queue},
                [this](const pb::Lease& lease, absl::Time at) { OnLease(lease, at); }),
        stub_(pb::SchedulerService::NewStub(OpenChannel(options.target))) {}

  absl::StatusOr<Report> Run() {
    Report report;
    report.scenario = "handoff";
    report.in_flight = 1;
    absl::Status status;
    worker_.Begin();
    const absl::Time start = absl::Now();
    for (std::int64_t i = 0; i < options_.warm_up + options_.tasks && status.ok(); ++i) {
      absl::SleepFor(options_.pause);
      const absl::StatusOr<absl::Duration> taken = PassOne();
      status.Update(taken.status());
      if (taken.ok() && i >= options_.warm_up) report.calls.push_back(*taken);
    }
    report.seconds = absl::Now() - start;
    worker_.Leave();
    status.Update(worker_.Wait());
    if (!status.ok()) return status;
    report.Finish();
    return report;
  }

 private:
  void OnLease(const pb::Lease& lease, absl::Time at) {
    MutexLock lock(mutex_);
    task_id_ = lease.task().id();
    received_ = at;
    arrived_.NotifyAll();
  }

  // Returns once the worker's ack is settled.
  absl::StatusOr<absl::Duration> PassOne() {
    pb::CreateTaskRequest request;
    FillNoop(options_.queue, request);
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    const absl::Time called = absl::Now();
    const absl::Time give_up = called + absl::FromChrono(kHandoffPatience);
    context.set_deadline(std::chrono::system_clock::now() + kHandoffPatience);
    pb::Task task;
    const std::int64_t settled = worker_.settled();
    const grpc::Status status = stub_->CreateTask(&context, request, &task);
    if (!status.ok()) {
      return absl::UnavailableError(
          absl::StrCat("CreateTask answered ", status.error_code(), ": ", status.error_message()));
    }
    absl::Duration taken;
    {
      MutexLock lock(mutex_);
      while (task_id_ != task.id() && absl::Now() < give_up) arrived_.WaitUntil(mutex_, give_up);
      if (task_id_ != task.id()) return absl::DeadlineExceededError("a task did not come");
      taken = received_ - called;
    }
    while (worker_.settled() == settled && absl::Now() < give_up) absl::SleepFor(kSettleLook);
    return taken;
  }

  const HandoffOptions& options_;
  Mutex mutex_;
  CondVar arrived_;
  std::int64_t task_id_ ABSL_GUARDED_BY(mutex_) = 0;  // of the last lease
  absl::Time received_ ABSL_GUARDED_BY(mutex_);
  Worker worker_;
  const std::unique_ptr<pb::SchedulerService::Stub> stub_;
};

}  // namespace

absl::StatusOr<Report> RunHandoff(const HandoffOptions& options) { return Handoff(options).Run(); }

}  // namespace parley::bench
