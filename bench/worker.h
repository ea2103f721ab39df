// A worker that does nothing, as fast as it can.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "parley/scheduler/v1/worker_service.grpc.pb.h"

namespace parley::bench {

struct WorkerOptions {
  std::string target;          // host:port of a schedulerd
  std::string queue;           // whose tasks
  std::int32_t credit = 1000;  // what is leased is acked at once, and granted anew
};

// Acks every task that it is leased, on a Work stream and a connection of its own. Begin() it, and
// Leave() and Wait() before it goes. Thread-safe.
class Worker final
    : public grpc::ClientBidiReactor<scheduler::v1::WorkRequest, scheduler::v1::WorkResponse> {
 public:
  // Called for each lease with the instant at which its frame was there, by one thread at a time.
  using OnLease = std::function<void(const scheduler::v1::Lease& lease, absl::Time received)>;
  Worker(const WorkerOptions& options, OnLease on_lease);

  void Begin();
  void Leave();         // nothing is left to do
  absl::Status Wait();  // for the end; any error of the stream, or of a task
  bool IsDone();

  std::int64_t settled() const { return settled_; }  // tasks of which the server has said so
  std::int64_t frames() const { return frames_; }    // that came from the server

 private:
  using WorkRequest = scheduler::v1::WorkRequest;

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;
  void Flush() ABSL_LOCKS_EXCLUDED(mutex_);
  void End() ABSL_LOCKS_EXCLUDED(mutex_);

  const OnLease on_lease_;
  const std::unique_ptr<scheduler::v1::WorkerService::Stub> stub_;
  grpc::ClientContext context_;
  scheduler::v1::WorkResponse in_;
  WorkRequest sent_;   // while writing_
  std::string error_;  // of a task
  std::atomic<std::int64_t> settled_{0};
  std::atomic<std::int64_t> frames_{0};
  Mutex mutex_;
  CondVar changed_;
  WorkRequest out_ ABSL_GUARDED_BY(mutex_);
  bool wants_ ABSL_GUARDED_BY(mutex_) = true;  // out_ is to be sent
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool held_back_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::bench
