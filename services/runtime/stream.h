// The road of a call that is answered by a stream: parse, then frames from any thread, then an end.
//
//   gRPC thread:     parse the bytes -> handler, which keeps the stream
//   whoever has one: TrySend, one frame at a time; of a call that streams both ways, ReadNext
//   whoever ends it: status and details -> access line -> Finish
//
// A stream has no deadline unless the caller sets one, and takes no thread while it waits.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "services/runtime/call.h"
#include "services/runtime/request_parser.h"

namespace parley::runtime {

// What the server sends of one call. Thread-safe.
class Stream {
 public:
  virtual ~Stream() = default;

  // Who is told of the stream's progress, on threads of gRPC's. Neither may block.
  struct Observer {
    // The frame is on its way; there is room for the next.
    std::function<void()> on_room;
    // It is all over: the last thing that is heard of the stream. Once.
    std::function<void()> on_over;
  };
  // To be called once, before the first frame; if it is all over already, on_over is called at
  // once.
  virtual void Attach(Observer observer) = 0;

  // Sends `frame`, a serialized reply. False, and nothing is sent, if the frame before is not on
  // its way yet, because the caller does not read, or if the stream has ended or its caller has
  // left. There is no queue: what waits is kept by the caller of this, who can still join it.
  virtual bool TrySend(std::string frame) = 0;

  // Ends the stream after the frame that is being sent. The first end counts.
  virtual void End(const absl::Status& status) = 0;
};

// A stream whose caller streams too.
class DuplexStream : public Stream {
 public:
  // Asks for the caller's next frame. `on_frame` is called once, on a thread of gRPC's, and must
  // not block; with null if the caller has half-closed or the stream is over. One at a time.
  using OnFrame = std::function<void(const grpc::ByteBuffer* frame)>;
  virtual void ReadNext(OnFrame on_frame) = 0;
};

// What both kinds have in common. `Reactor` is gRPC's, `Interface` one of the two above. It keeps
// itself alive until gRPC is done with it.
template <class Reactor, class Interface>
class StreamReactor : public Reactor, public Interface {
 public:
  using Observer = Stream::Observer;
  // `admission` is what the pipeline said of the call.
  StreamReactor(const CallPipeline& calls, const MethodOptions& method,
                grpc::CallbackServerContext* context, const Admission& admission);
  // To be called once, before anything else.
  void KeepAlive(std::shared_ptr<StreamReactor> self) ABSL_LOCKS_EXCLUDED(mutex_);

  void Attach(Observer observer) override ABSL_LOCKS_EXCLUDED(mutex_);
  bool TrySend(std::string frame) override ABSL_LOCKS_EXCLUDED(mutex_);
  void End(const absl::Status& status) override ABSL_LOCKS_EXCLUDED(mutex_);

 protected:
  // While it is held, gRPC is not told of the end, so that it may still be asked for something.
  // False: it has ended.
  bool Hold() ABSL_LOCKS_EXCLUDED(mutex_);
  void LetGo() ABSL_LOCKS_EXCLUDED(mutex_);

  MethodMetrics& metrics() const { return line_.metrics; }

 private:
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  absl::Status WhyLeft() const;
  // Whether now is the time to finish, and nobody else does.
  bool MayFinish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FinishWith(const absl::Status& status);

  const TraceContext trace_;
  const AccessLine line_;
  grpc::CallbackServerContext* const context_;
  Mutex mutex_;
  Observer observer_ ABSL_GUARDED_BY(mutex_);
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  int holds_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);  // once ended_
  grpc::ByteBuffer frame_;                    // of whoever set writing_, until OnWriteDone
  std::shared_ptr<StreamReactor> self_ ABSL_GUARDED_BY(mutex_);  // until OnDone
  std::shared_ptr<void> place_ ABSL_GUARDED_BY(mutex_);          // of the admission; until OnDone
};

using ServerStreamReactor = StreamReactor<grpc::ServerWriteReactor<grpc::ByteBuffer>, Stream>;
using BidiReactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

class DuplexReactor final : public StreamReactor<BidiReactor, DuplexStream> {
 public:
  using StreamReactor::StreamReactor;

  void ReadNext(OnFrame on_frame) override;

 private:
  void OnReadDone(bool ok) override;

  // Of the read that is under way; nobody else touches them meanwhile.
  grpc::ByteBuffer read_;
  OnFrame on_frame_;
};

// Lets the call in, parses the request and hands the stream to `handler`, on gRPC's thread.
// Handler: (const Request&, std::shared_ptr<Stream>) -> absl::Status; must not block. An error ends
// the stream.
template <class Request, class Handler>
grpc::ServerWriteReactor<grpc::ByteBuffer>* ServeStream(const CallPipeline& calls,
                                                        const MethodOptions& method,
                                                        grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* in,
                                                        Handler handler) {
  Admission admission;
  const absl::Status admitted = calls.Admit(method, *context, admission);
  const auto stream = std::make_shared<ServerStreamReactor>(calls, method, context, admission);
  stream->KeepAlive(stream);
  const auto begin = [&]() -> absl::Status {
    PARLEY_RETURN_IF_ERROR(admitted);
    calls.metrics().Of(method.name).Received();
    Request request;
    PARLEY_RETURN_IF_ERROR(ParseRequest(*in, request));
    PARLEY_ASSIGN_OR_RETURN(const Question question, calls.Examine(method, admission, request));
    // It would have to be asked again and again while the stream goes on.
    if (question != nullptr) return InternalError("a stream with a question to the database");
    return handler(request, std::shared_ptr<Stream>(stream));
  };
  if (const absl::Status begun = begin(); !begun.ok()) stream->End(begun);
  return stream.get();
}

// Lets the call in, and hands the stream to `handler`, on gRPC's thread. Handler:
// (std::shared_ptr<DuplexStream>) -> void; must not block.
template <class Handler>
BidiReactor* ServeDuplex(const CallPipeline& calls, const MethodOptions& method,
                         grpc::CallbackServerContext* context, Handler handler) {
  Admission admission;
  const absl::Status admitted = calls.Admit(method, *context, admission);
  const auto stream = std::make_shared<DuplexReactor>(calls, method, context, admission);
  stream->KeepAlive(stream);
  if (admitted.ok()) {
    handler(std::shared_ptr<DuplexStream>(stream));
  } else {
    stream->End(admitted);
  }
  return stream.get();
}

}  // namespace parley::runtime
