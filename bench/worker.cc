#include "bench/worker.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "bench/workload.h"

namespace parley::bench {
namespace {

namespace pb = scheduler::v1;

}  // namespace

Worker::Worker(const WorkerOptions& options, OnLease on_lease)
    : on_lease_(std::move(on_lease)),
      stub_(pb::WorkerService::NewStub(OpenChannel(options.target))) {
  out_.mutable_hello()->add_queues(options.queue);
  out_.set_credit(options.credit);
}

void Worker::Begin() {
  stub_->async()->Work(&context_, this);
  AddHold();  // for the writes, which no read waits for
  StartRead(&in_);
  Flush();
  StartCall();
}

void Worker::Leave() {
  {
    MutexLock lock(mutex_);
    out_.set_goodbye(true);
    wants_ = true;
  }
  Flush();
}

absl::Status Worker::Wait() {
  MutexLock lock(mutex_);
  while (!done_) changed_.Wait(mutex_);
  return status_;
}

bool Worker::IsDone() {
  MutexLock lock(mutex_);
  return done_;
}

void Worker::OnReadDone(bool ok) {
  if (!ok) return End();
  ++frames_;
  if (!in_.errors().empty()) {
    error_ = absl::StrCat("task ", in_.errors(0).task_id(), ": ", in_.errors(0).status().message());
    context_.TryCancel();
    return End();
  }
  const absl::Time received = absl::Now();
  for (const pb::Lease& lease : in_.leases()) on_lease_(lease, received);
  {
    MutexLock lock(mutex_);
    for (pb::Lease& lease : *in_.mutable_leases()) {
      pb::AckTaskRequest& ack = *out_.add_acks();
      ack.set_task_id(lease.task().id());
      ack.set_lease_token(std::move(*lease.mutable_lease_token()));
    }
    out_.set_credit(out_.credit() + in_.leases_size());
    wants_ = wants_ || !in_.leases().empty();
  }
  settled_ += in_.settled_task_ids_size();
  StartRead(&in_);
  Flush();
}

void Worker::OnWriteDone(bool ok) {
  {
    MutexLock lock(mutex_);
    writing_ = false;
    if (!ok) ended_ = true;
  }
  Flush();
}

void Worker::Flush() {
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

void Worker::End() {
  bool first = false;
  {
    MutexLock lock(mutex_);
    ended_ = true;
    first = !std::exchange(held_back_, true);
  }
  if (first) RemoveHold();
}

void Worker::OnDone(const grpc::Status& status) {
  MutexLock lock(mutex_);
  if (!error_.empty()) {
    status_ = absl::InternalError(error_);
  } else if (!status.ok()) {
    status_ = absl::UnavailableError(status.error_message());
  }
  done_ = true;
  changed_.NotifyAll();
}

}  // namespace parley::bench
