// The road of a call that is answered by a stream: parse, then frames from any thread, then an end.
//
//   gRPC thread:     parse the bytes -> handler, which keeps the stream
//   whoever has one: TrySend, one frame at a time
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
#include "base/error.h"
#include "base/mutex.h"
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

// A stream of gRPC's. It keeps itself alive until gRPC is done with it.
class StreamReactor final : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public Stream {
 public:
  static std::shared_ptr<StreamReactor> Begin(const CallPipeline& calls,
                                              const MethodOptions& method,
                                              grpc::CallbackServerContext* context);

  void Attach(Observer observer) override ABSL_LOCKS_EXCLUDED(mutex_);
  bool TrySend(std::string frame) override ABSL_LOCKS_EXCLUDED(mutex_);
  void End(const absl::Status& status) override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  StreamReactor(const CallPipeline& calls, const MethodOptions& method,
                grpc::CallbackServerContext* context);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  absl::Status WhyLeft() const;
  void FinishWith(const absl::Status& status);

  const AccessLine line_;
  grpc::CallbackServerContext* const context_;
  Mutex mutex_;
  Observer observer_ ABSL_GUARDED_BY(mutex_);
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);  // once ended_
  grpc::ByteBuffer frame_;                    // of whoever set writing_, until OnWriteDone
  std::shared_ptr<StreamReactor> self_ ABSL_GUARDED_BY(mutex_);  // until OnDone
};

// Parses the request and hands the stream to `handler`, on gRPC's thread. Handler: (const Request&,
// std::shared_ptr<Stream>) -> absl::Status; must not block. An error ends the stream.
template <class Request, class Handler>
grpc::ServerWriteReactor<grpc::ByteBuffer>* ServeStream(const CallPipeline& calls,
                                                        const MethodOptions& method,
                                                        grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* in,
                                                        Handler handler) {
  const std::shared_ptr<StreamReactor> stream = StreamReactor::Begin(calls, method, context);
  Request request;
  absl::Status status = ParseRequest(*in, request);
  if (status.ok()) status = handler(request, std::shared_ptr<Stream>(stream));
  if (!status.ok()) stream->End(status);
  return stream.get();
}

}  // namespace parley::runtime
