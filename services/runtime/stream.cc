#include "services/runtime/stream.h"

#include <utility>

#include "base/clock.h"

namespace parley::runtime {

template <class Reactor, class Interface>
StreamReactor<Reactor, Interface>::StreamReactor(const CallPipeline& calls,
                                                 const MethodOptions& method,
                                                 grpc::CallbackServerContext* context,
                                                 const Admission& admission)
    : trace_(TraceContext::Of(*context)),
      line_{calls.metrics().Of(method.name),
            trace_,
            calls.service(),
            method.name,
            SteadyNow(),
            "",
            admission.caller == nullptr ? "" : admission.caller->name},
      context_(context),
      place_(admission.place) {
  line_.metrics.Started();
}

template <class Reactor, class Interface>
void StreamReactor<Reactor, Interface>::KeepAlive(std::shared_ptr<StreamReactor> self) {
  MutexLock lock(mutex_);
  self_ = std::move(self);
}

template <class Reactor, class Interface>
void StreamReactor<Reactor, Interface>::Attach(Observer observer) {
  {
    MutexLock lock(mutex_);
    if (!over_) {
      observer_ = std::move(observer);
      return;
    }
  }
  observer.on_over();
}

template <class Reactor, class Interface>
bool StreamReactor<Reactor, Interface>::TrySend(std::string frame) {
  {
    MutexLock lock(mutex_);
    if (writing_ || ended_) return false;
    writing_ = true;
  }
  // Outside the lock, because it enters gRPC. Nobody else writes before OnWriteDone, and nobody
  // finishes.
  const grpc::Slice slice(frame);
  frame_ = grpc::ByteBuffer(&slice, 1);
  this->StartWrite(&frame_);
  return true;
}

template <class Reactor, class Interface>
void StreamReactor<Reactor, Interface>::End(const absl::Status& status) {
  {
    MutexLock lock(mutex_);
    if (ended_) return;
    ended_ = true;
    end_ = status;
    if (!MayFinish()) return;  // whoever is at work with gRPC finishes
  }
  FinishWith(status);
}

template <class Reactor, class Interface>
bool StreamReactor<Reactor, Interface>::MayFinish() {
  if (!ended_ || writing_ || holds_ > 0) return false;
  return !std::exchange(finished_, true);
}

template <class Reactor, class Interface>
bool StreamReactor<Reactor, Interface>::Hold() {
  MutexLock lock(mutex_);
  if (ended_) return false;
  ++holds_;
  return true;
}

template <class Reactor, class Interface>
void StreamReactor<Reactor, Interface>::LetGo() {
  absl::Status end;
  {
    MutexLock lock(mutex_);
    --holds_;
    if (!MayFinish()) return;
    end = end_;
  }
  FinishWith(end);
}

template <class Reactor, class Interface>
void StreamReactor<Reactor, Interface>::OnWriteDone(bool ok) {
  std::function<void()> on_room;
  absl::Status end;
  bool finish = false;
  {
    MutexLock lock(mutex_);
    frame_.Clear();
    writing_ = false;
    if (ok) line_.metrics.Sent();
    if (!ok && !ended_) {
      ended_ = true;
      end_ = WhyLeft();
    }
    finish = MayFinish();
    end = end_;
    if (!ended_) on_room = observer_.on_room;
  }
  if (finish) FinishWith(end);
  if (on_room) on_room();
}

template <class Reactor, class Interface>
void StreamReactor<Reactor, Interface>::OnCancel() {
  End(WhyLeft());
}

template <class Reactor, class Interface>
void StreamReactor<Reactor, Interface>::OnDone() {
  std::shared_ptr<StreamReactor> self;
  std::shared_ptr<void> place;
  Observer observer;
  {
    MutexLock lock(mutex_);
    over_ = true;
    self.swap(self_);
    place.swap(place_);
    std::swap(observer, observer_);
  }
  if (observer.on_over) observer.on_over();
}

template <class Reactor, class Interface>
absl::Status StreamReactor<Reactor, Interface>::WhyLeft() const {
  if (SteadyNow() >= CallerDeadline(*context_)) {
    return Error(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded,
                 "the caller's deadline has passed");
  }
  return Error(absl::StatusCode::kCancelled, reason::kCancelled, "the caller has left");
}

template <class Reactor, class Interface>
void StreamReactor<Reactor, Interface>::FinishWith(const absl::Status& status) {
  this->Finish(EndCall(line_, *context_, status));
}

template class StreamReactor<grpc::ServerWriteReactor<grpc::ByteBuffer>, Stream>;
template class StreamReactor<BidiReactor, DuplexStream>;

void DuplexReactor::ReadNext(OnFrame on_frame) {
  if (!Hold()) return on_frame(nullptr);
  on_frame_ = std::move(on_frame);
  StartRead(&read_);
  LetGo();
}

void DuplexReactor::OnReadDone(bool ok) {
  grpc::ByteBuffer frame;
  frame.Swap(&read_);
  const OnFrame on_frame = std::exchange(on_frame_, nullptr);
  if (ok) metrics().Received();
  on_frame(ok ? &frame : nullptr);
}

}  // namespace parley::runtime
