#include "bench/work.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "bench/workload.h"
#include "parley/scheduler/v1/worker_service.grpc.pb.h"

namespace parley::bench {
namespace {

namespace pb = scheduler::v1;

class Worker final : public grpc::ClientBidiReactor<pb::WorkRequest, pb::WorkResponse> {
 public:
  // `left`: how many tasks are still to be settled, by all workers.
  Worker(const WorkOptions& options, std::atomic<std::int64_t>& left)
      : left_(left), stub_(pb::WorkerService::NewStub(OpenChannel(options.target))) {
    out_.mutable_hello()->add_queues(options.queue);
    out_.set_credit(options.credit);
  }

  void Begin() {
    stub_->async()->Work(&context_, this);
    AddHold();  // for the writes, which no read waits for
    StartRead(&in_);
    Flush();
    StartCall();
  }

  // Nothing is left to do.
  void Leave() {
    {
      MutexLock lock(mutex_);
      out_.set_goodbye(true);
      wants_ = true;
    }
    Flush();
  }

  bool IsDone() {
    MutexLock lock(mutex_);
    return done_;
  }

  // Waits for the end.
  absl::Status Wait() {
    MutexLock lock(mutex_);
    while (!done_) changed_.Wait(mutex_);
    return status_;
  }
  std::int64_t frames() const { return frames_; }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return End();
    ++frames_;
    if (!in_.errors().empty()) {
      error_ =
          absl::StrCat("task ", in_.errors(0).task_id(), ": ", in_.errors(0).status().message());
      context_.TryCancel();
      return End();
    }
    left_ -= in_.settled_task_ids_size();
    {
      MutexLock lock(mutex_);
      for (const pb::Lease& lease : in_.leases()) {
        pb::AckTaskRequest& ack = *out_.add_acks();
        ack.set_task_id(lease.task().id());
        ack.set_lease_token(lease.lease_token());
      }
      out_.set_credit(out_.credit() + in_.leases_size());
      wants_ = wants_ || !in_.leases().empty();
    }
    in_.Clear();
    StartRead(&in_);
    Flush();
  }

  void OnWriteDone(bool ok) override {
    {
      MutexLock lock(mutex_);
      writing_ = false;
      if (!ok) ended_ = true;
    }
    Flush();
  }

  void Flush() {
    {
      MutexLock lock(mutex_);
      if (writing_ || ended_ || !wants_) return;
      writing_ = true;
      wants_ = false;
      sent_.Swap(&out_);
      out_.Clear();
      if (sent_.goodbye()) ended_ = true;
    }
    StartWrite(&sent_);
  }

  void End() {
    bool first = false;
    {
      MutexLock lock(mutex_);
      ended_ = true;
      first = !std::exchange(held_back_, true);
    }
    if (first) RemoveHold();
  }

  void OnDone(const grpc::Status& status) override {
    MutexLock lock(mutex_);
    if (!error_.empty()) {
      status_ = absl::InternalError(error_);
    } else if (!status.ok()) {
      status_ = absl::UnavailableError(status.error_message());
    }
    done_ = true;
    changed_.NotifyAll();
  }

  std::atomic<std::int64_t>& left_;
  const std::unique_ptr<pb::WorkerService::Stub> stub_;
  grpc::ClientContext context_;
  pb::WorkResponse in_;
  pb::WorkRequest sent_;  // while writing_
  std::int64_t frames_ = 0;
  std::string error_;
  Mutex mutex_;
  CondVar changed_;
  pb::WorkRequest out_ ABSL_GUARDED_BY(mutex_);
  bool wants_ ABSL_GUARDED_BY(mutex_) = true;  // out_ is to be sent
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool held_back_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<WorkReport> RunWork(const WorkOptions& options) {
  std::atomic<std::int64_t> left{options.tasks};
  std::vector<std::unique_ptr<Worker>> workers;
  for (int i = 0; i < options.streams; ++i) {
    workers.push_back(std::make_unique<Worker>(options, left));
  }
  const absl::Time start = absl::Now();
  for (const auto& worker : workers) worker->Begin();
  const auto broken = [&] {
    return std::any_of(workers.begin(), workers.end(),
                       [](const auto& worker) { return worker->IsDone(); });
  };
  while (left > 0 && !broken()) absl::SleepFor(absl::Milliseconds(1));
  const absl::Duration seconds = absl::Now() - start;
  for (const auto& worker : workers) worker->Leave();
  WorkReport report;
  absl::Status status;
  for (const auto& worker : workers) {
    status.Update(worker->Wait());
    report.frames += worker->frames();
  }
  if (!status.ok()) return status;
  report.seconds = seconds;
  report.tasks = options.tasks - left;
  return report;
}

}  // namespace parley::bench
