// The road every unary call takes: parse, admit, run on an executor, answer, log.
//
//   gRPC thread:     parse the bytes -> give the call its deadline -> queue it, or refuse
//   executor thread: drop it if the caller has left or the deadline has passed -> handler -> reply
//                    (calls that only hand their work to a queue of its own skip this: UnaryNow)
//   whoever answers: status and details -> access line -> Finish
//
// Services take their requests as raw bytes (RawMethods below) because gRPC's generated code
// answers a request that does not parse, such as one with invalid UTF-8 in a string, with
// UNIMPLEMENTED and no text; parsed here, it gets INVALID_ARGUMENT that names the field.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "services/runtime/executor.h"
#include "services/runtime/request_parser.h"

namespace parley::runtime {

// RawMethods<S::Service, S::WithRawCallbackMethod_A, S::WithRawCallbackMethod_B...>::type is the
// base class of a service whose methods A, B... take and return bytes.
template <class Service, template <class> class... Methods>
struct RawMethods {
  using type = Service;
};
template <class Service, template <class> class First, template <class> class... Rest>
struct RawMethods<Service, First, Rest...> {
  using type = First<typename RawMethods<Service, Rest...>::type>;
};

// How a method's calls are run.
struct MethodOptions {
  absl::string_view name;                              // "GetChat"; a literal
  Executor* executor = nullptr;                        // null: the pipeline's
  absl::Duration max_deadline = absl::ZeroDuration();  // zero: the pipeline's
};

// One call, as its handler sees it. Valid until the handler has answered.
class Call {
 public:
  virtual ~Call() = default;

  // When the answer is due: the caller's deadline, or the server's default, at most the maximum.
  absl::Time deadline() const { return deadline_; }

  // Whether the caller has left. Any thread may ask.
  bool IsCancelled() const { return cancelled_.load(std::memory_order_acquire); }

  // OK if it still makes sense to work on the call; otherwise CANCELLED or DEADLINE_EXCEEDED.
  absl::Status CheckAlive() const;

 protected:
  absl::Time deadline_;
  std::atomic<bool> cancelled_{false};
};

// The caller's deadline; absl::InfiniteFuture() if there is none.
absl::Time CallerDeadline(const grpc::CallbackServerContext& context);

// What the access line says of a call besides its outcome.
struct AccessLine {
  absl::string_view service;
  absl::string_view method;
  absl::Time start;
  std::string request_id;
};
// Writes the access line of a call that ends; returns what it ends with. `context` is the call's,
// which must not be finished yet.
grpc::Status EndCall(const AccessLine& line, const grpc::CallbackServerContext& context,
                     const absl::Status& status);

// The calls of one service. Thread-safe; outlives the server.
class CallPipeline {
 public:
  struct Options {
    std::string service;                                  // "parley.chat.v1.ChatService"
    absl::Duration default_deadline = absl::Seconds(10);  // for callers that set none
    absl::Duration max_deadline = absl::Seconds(60);      // for callers that set a longer one
  };
  CallPipeline(Options options, Executor& executor)
      : options_(std::move(options)), executor_(executor) {}

  const std::string& service() const { return options_.service; }

  // Runs `handler` on the executor; its return value is the answer.
  // Handler: (const Call&, const Request&) -> absl::StatusOr<Reply>. May block; may not throw.
  template <class Request, class Reply, class Handler>
  grpc::ServerUnaryReactor* Unary(const MethodOptions& method, grpc::CallbackServerContext* context,
                                  const grpc::ByteBuffer* in, grpc::ByteBuffer* out,
                                  Handler handler) {
    return UnaryLater<Request, Reply>(
        method, context, in, out,
        [handler = std::move(handler)](const Call& call, const Request& request,
                                       std::function<void(absl::StatusOr<Reply>)> done) {
          done(handler(call, request));
        });
  }

  // Runs `handler` on the executor; the answer is what it hands to `done`, once, then or later,
  // from any thread. `call` and the request are valid until then. Handler: (const Call&, const
  // Request&, std::function<void(absl::StatusOr<Reply>)> done) -> void.
  template <class Request, class Reply, class Handler>
  grpc::ServerUnaryReactor* UnaryLater(const MethodOptions& method,
                                       grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* in, grpc::ByteBuffer* out,
                                       Handler handler);

  // The same without the executor: the handler is called here and now, on gRPC's thread, and must
  // not block.
  template <class Request, class Reply, class Handler>
  grpc::ServerUnaryReactor* UnaryNow(const MethodOptions& method,
                                     grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* in, grpc::ByteBuffer* out,
                                     const Handler& handler);

 private:
  class Reactor;
  template <class Request, class Reply>
  class TypedReactor;
  // Null: `reactor` has been answered, because the bytes are no request.
  template <class Request, class Reply>
  static TypedReactor<Request, Reply>* Parsed(TypedReactor<Request, Reply>* reactor,
                                              const grpc::ByteBuffer& in);

  const Options options_;
  Executor& executor_;
};

// What does not depend on a call's types. Deletes itself when gRPC is done with it.
class CallPipeline::Reactor : public grpc::ServerUnaryReactor, public Call {
 public:
  Reactor(const CallPipeline& pipeline, const MethodOptions& method,
          grpc::CallbackServerContext* context);

  // Ends the call: status, details, access line. Exactly once; the reactor may be gone afterwards.
  void Answer(const absl::Status& status);

  void set_request_id(const std::string& request_id) { request_id_ = request_id; }

 private:
  void OnCancel() override { cancelled_.store(true, std::memory_order_release); }
  void OnDone() override { delete this; }

  const absl::string_view service_;
  const absl::string_view method_;
  grpc::CallbackServerContext* const context_;
  const absl::Time start_;
  std::string request_id_;
};

template <class Request, class Reply>
class CallPipeline::TypedReactor : public Reactor {
 public:
  TypedReactor(const CallPipeline& pipeline, const MethodOptions& method,
               grpc::CallbackServerContext* context, grpc::ByteBuffer* out)
      : Reactor(pipeline, method, context), out_(out) {}

  Request& request() { return request_; }

  void Done(const absl::StatusOr<Reply>& reply) {
    Answer(reply.ok() ? SerializeReply(*reply, *out_) : reply.status());
  }

 private:
  Request request_;
  grpc::ByteBuffer* const out_;
};

template <class Request, class Reply>
CallPipeline::TypedReactor<Request, Reply>* CallPipeline::Parsed(
    TypedReactor<Request, Reply>* reactor, const grpc::ByteBuffer& in) {
  if (absl::Status parsed = ParseRequest(in, reactor->request()); !parsed.ok()) {
    reactor->Answer(parsed);
    return nullptr;
  }
  if constexpr (requires { reactor->request().request_id(); }) {
    reactor->set_request_id(reactor->request().request_id());
  }
  return reactor;
}

template <class Request, class Reply, class Handler>
grpc::ServerUnaryReactor* CallPipeline::UnaryLater(const MethodOptions& method,
                                                   grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* in,
                                                   grpc::ByteBuffer* out, Handler handler) {
  auto* reactor = new TypedReactor<Request, Reply>(*this, method, context, out);
  if (Parsed(reactor, *in) == nullptr) return reactor;
  Executor& executor = method.executor != nullptr ? *method.executor : executor_;
  const bool queued = executor.Submit([reactor, handler = std::move(handler)] {
    if (absl::Status alive = reactor->CheckAlive(); !alive.ok()) return reactor->Answer(alive);
    handler(*reactor, reactor->request(),
            [reactor](const absl::StatusOr<Reply>& reply) { reactor->Done(reply); });
  });
  if (!queued) reactor->Answer(QueueFullError());
  return reactor;
}

template <class Request, class Reply, class Handler>
grpc::ServerUnaryReactor* CallPipeline::UnaryNow(const MethodOptions& method,
                                                 grpc::CallbackServerContext* context,
                                                 const grpc::ByteBuffer* in, grpc::ByteBuffer* out,
                                                 const Handler& handler) {
  auto* reactor = new TypedReactor<Request, Reply>(*this, method, context, out);
  if (Parsed(reactor, *in) == nullptr) return reactor;
  if (absl::Status alive = reactor->CheckAlive(); !alive.ok()) {
    reactor->Answer(alive);
    return reactor;
  }
  handler(*reactor, reactor->request(),
          [reactor](const absl::StatusOr<Reply>& reply) { reactor->Done(reply); });
  return reactor;
}

}  // namespace parley::runtime
