#include "services/runtime/stream.h"

#include "absl/time/clock.h"

namespace parley::runtime {

std::shared_ptr<StreamReactor> StreamReactor::Begin(const CallPipeline& calls,
                                                    const MethodOptions& method,
                                                    grpc::CallbackServerContext* context) {
  std::shared_ptr<StreamReactor> stream(new StreamReactor(calls, method, context));
  MutexLock lock(stream->mutex_);
  stream->self_ = stream;
  return stream;
}

StreamReactor::StreamReactor(const CallPipeline& calls, const MethodOptions& method,
                             grpc::CallbackServerContext* context)
    : line_{calls.service(), method.name, absl::Now(), ""}, context_(context) {}

void StreamReactor::Attach(Observer observer) {
  {
    MutexLock lock(mutex_);
    if (!over_) {
      observer_ = std::move(observer);
      return;
    }
  }
  observer.on_over();
}

bool StreamReactor::TrySend(std::string frame) {
  {
    MutexLock lock(mutex_);
    if (writing_ || ended_) return false;
    writing_ = true;
  }
  // Outside the lock, because it enters gRPC. Nobody else writes before OnWriteDone, and nobody
  // finishes.
  const grpc::Slice slice(frame);
  frame_ = grpc::ByteBuffer(&slice, 1);
  StartWrite(&frame_);
  return true;
}

void StreamReactor::End(const absl::Status& status) {
  {
    MutexLock lock(mutex_);
    if (ended_) return;
    ended_ = true;
    end_ = status;
    if (writing_) return;  // OnWriteDone finishes
  }
  FinishWith(status);
}

void StreamReactor::OnWriteDone(bool ok) {
  std::function<void()> on_room;
  absl::Status end;
  bool ended = false;
  {
    MutexLock lock(mutex_);
    frame_.Clear();
    writing_ = false;
    if (!ok && !ended_) {
      ended_ = true;
      end_ = WhyLeft();
    }
    ended = ended_;
    end = end_;
    on_room = observer_.on_room;
  }
  if (ended) return FinishWith(end);
  on_room();
}

void StreamReactor::OnCancel() { End(WhyLeft()); }

void StreamReactor::OnDone() {
  std::shared_ptr<StreamReactor> self;
  Observer observer;
  {
    MutexLock lock(mutex_);
    over_ = true;
    self.swap(self_);
    std::swap(observer, observer_);
  }
  if (observer.on_over) observer.on_over();
}

absl::Status StreamReactor::WhyLeft() const {
  if (absl::Now() >= CallerDeadline(*context_)) {
    return Error(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded,
                 "the caller's deadline has passed");
  }
  return Error(absl::StatusCode::kCancelled, reason::kCancelled, "the caller has left");
}

void StreamReactor::FinishWith(const absl::Status& status) {
  Finish(EndCall(line_, *context_, status));
}

}  // namespace parley::runtime
