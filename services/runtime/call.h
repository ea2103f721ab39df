// The road every unary call takes: admit, parse, run on an executor, answer, log.
//
//   gRPC thread:     ask the gate -> parse the bytes -> queue the call, or refuse it
//   executor thread: drop it if the caller has left or the deadline has passed -> handler -> reply
//                    (calls that only hand their work to a queue of its own skip this: UnaryNow)
//   whoever answers: status and details -> access line -> Finish
//
// Services take their requests as raw bytes (RawMethods below) because gRPC's generated code
// answers a request that does not parse, such as one with invalid UTF-8 in a string, with
// UNIMPLEMENTED and no text; parsed here, it gets INVALID_ARGUMENT that names the field.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "services/runtime/call_metrics.h"
#include "services/runtime/executor.h"
#include "services/runtime/gate.h"
#include "services/runtime/request_parser.h"
#include "services/runtime/trace.h"

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
  // When the answer is due: the caller's deadline, or the server's default, at most the maximum.
  absl::Time deadline() const { return deadline_; }

  // Who calls.
  const Caller& caller() const { return *admission_.caller; }

  // Whether the caller has left. Any thread may ask.
  bool IsCancelled() const { return context_->IsCancelled(); }

  // The server's span, for log lines of the call and for calls that are made on its behalf.
  const TraceContext& trace() const { return trace_; }

  // OK if it still makes sense to work on the call; otherwise CANCELLED or DEADLINE_EXCEEDED.
  absl::Status CheckAlive() const;

 protected:
  explicit Call(grpc::CallbackServerContext* context)
      : context_(context), trace_(TraceContext::Of(*context)) {}
  ~Call() = default;

  grpc::CallbackServerContext* const context_;
  const TraceContext trace_;
  absl::Time deadline_;
  Admission admission_;
};

// The caller's deadline; absl::InfiniteFuture() if there is none.
absl::Time CallerDeadline(const grpc::CallbackServerContext& context);

// What the access line says of a call besides its outcome.
struct AccessLine {
  MethodMetrics& metrics;
  const TraceContext& trace;
  absl::string_view service;
  absl::string_view method;
  absl::Time start;
  std::string request_id;
  std::string caller;  // empty: nobody is asked who they are
};
// Writes the access line of a call that ends, and counts it; returns what it ends with. `context`
// is the call's, which must not be finished yet; if the error says when to try again, so does its
// trailer grpc-retry-pushback-ms, which gRPC's clients heed by themselves.
grpc::Status EndCall(const AccessLine& line, grpc::CallbackServerContext& context,
                     const absl::Status& status);

// The calls of one service. Thread-safe; outlives the server.
class CallPipeline {
 public:
  struct Options {
    std::string service;                                  // "parley.chat.v1.ChatService"
    absl::Duration default_deadline = absl::Seconds(10);  // for callers that set none
    absl::Duration max_deadline = absl::Seconds(60);      // for callers that set a longer one
    Gate* gate = nullptr;                                 // null: everybody may do everything
  };
  CallPipeline(Options options, Executor& executor)
      : options_(std::move(options)), executor_(executor), metrics_(options_.service) {}

  const std::string& service() const { return options_.service; }
  const ServiceMetrics& metrics() const { return metrics_; }

  // Lets a call in, or says why not. Before anything of the request is looked at.
  absl::Status Admit(const MethodOptions& method, const grpc::CallbackServerContext& context,
                     Admission& admission) const;

  // Whether the request is one of the user's for whom its caller acts, and what is left to ask.
  absl::StatusOr<Question> Examine(const MethodOptions& method, const Admission& admission,
                                   const google::protobuf::Message& request) const;

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
  // not block. (Only where the gate has a question to the database is it called on the executor.)
  template <class Request, class Reply, class Handler>
  grpc::ServerUnaryReactor* UnaryNow(const MethodOptions& method,
                                     grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* in, grpc::ByteBuffer* out,
                                     const Handler& handler);

 private:
  class UnaryCall;
  template <class Request, class Reply>
  class TypedCall;
  // Null: the call has been answered, because it was not let in or the bytes are no request.
  template <class Request, class Reply>
  TypedCall<Request, Reply>* Begin(const MethodOptions& method,
                                   grpc::CallbackServerContext* context,
                                   grpc::ServerUnaryReactor* reactor, const grpc::ByteBuffer& in,
                                   grpc::ByteBuffer* out) const;
  // What runs on the executor.
  template <class Request, class Reply, class Handler>
  void Later(const MethodOptions& method, TypedCall<Request, Reply>* call, Handler handler) const;

  const Options options_;
  Executor& executor_;
  const ServiceMetrics metrics_;
};

// What does not depend on a call's types. It is answered through gRPC's own reactor, whose end
// takes no thread of its own: a reactor of ours would be told of it on another thread, at the cost
// of a tenth of what the server does for a call (measured with 1.51.1).
class CallPipeline::UnaryCall : public Call {
 public:
  UnaryCall(const CallPipeline& pipeline, const MethodOptions& method,
            grpc::CallbackServerContext* context, grpc::ServerUnaryReactor* reactor);

  bool has_question() const { return question_ != nullptr; }
  // OK if the handler may see the call. May block, if there is a question.
  absl::Status CheckBeforeHandler() const;

 protected:
  ~UnaryCall() = default;

  absl::Status Examine(const CallPipeline& pipeline, const MethodOptions& method,
                       const google::protobuf::Message& request);

  // Ends the call: status, details, access line. Once.
  void Answer(const absl::Status& status);

  void set_request_id(const std::string& request_id) { request_id_ = request_id; }

 private:
  const absl::string_view service_;
  const absl::string_view method_;
  MethodMetrics& metrics_;
  grpc::ServerUnaryReactor* const reactor_;
  const absl::Time start_;
  std::string request_id_;
  Question question_;
};

template <class Request, class Reply>
class CallPipeline::TypedCall final : public UnaryCall {
 public:
  TypedCall(const CallPipeline& pipeline, const MethodOptions& method,
            grpc::CallbackServerContext* context, grpc::ServerUnaryReactor* reactor,
            grpc::ByteBuffer* out)
      : UnaryCall(pipeline, method, context, reactor), out_(out) {}

  const Request& request() const { return request_; }

  // Whether the call may go on: it is let in, the bytes are a request, the request is the caller's.
  absl::Status Begin(const CallPipeline& pipeline, const MethodOptions& method,
                     const grpc::ByteBuffer& in) {
    PARLEY_RETURN_IF_ERROR(pipeline.Admit(method, *context_, admission_));
    PARLEY_RETURN_IF_ERROR(ParseRequest(in, request_));
    if constexpr (requires { request_.request_id(); }) set_request_id(request_.request_id());
    return Examine(pipeline, method, request_);
  }

  // Answers the call, and deletes this.
  void Done(const absl::StatusOr<Reply>& reply) {
    Answer(reply.ok() ? SerializeReply(*reply, *out_) : reply.status());
    delete this;
  }

 private:
  Request request_;
  grpc::ByteBuffer* const out_;
};

template <class Request, class Reply>
CallPipeline::TypedCall<Request, Reply>* CallPipeline::Begin(const MethodOptions& method,
                                                             grpc::CallbackServerContext* context,
                                                             grpc::ServerUnaryReactor* reactor,
                                                             const grpc::ByteBuffer& in,
                                                             grpc::ByteBuffer* out) const {
  auto* call = new TypedCall<Request, Reply>(*this, method, context, reactor, out);
  absl::Status begun = call->Begin(*this, method, in);
  if (begun.ok()) return call;
  call->Done(std::move(begun));
  return nullptr;
}

template <class Request, class Reply, class Handler>
grpc::ServerUnaryReactor* CallPipeline::UnaryLater(const MethodOptions& method,
                                                   grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* in,
                                                   grpc::ByteBuffer* out, Handler handler) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  auto* call = Begin<Request, Reply>(method, context, reactor, *in, out);
  if (call != nullptr) Later(method, call, std::move(handler));
  return reactor;
}

template <class Request, class Reply, class Handler>
void CallPipeline::Later(const MethodOptions& method, TypedCall<Request, Reply>* call,
                         Handler handler) const {
  Executor& executor = method.executor != nullptr ? *method.executor : executor_;
  const bool queued = executor.Submit([call, handler = std::move(handler)] {
    if (absl::Status may = call->CheckBeforeHandler(); !may.ok()) return call->Done(std::move(may));
    handler(*call, call->request(),
            [call](const absl::StatusOr<Reply>& reply) { call->Done(reply); });
  });
  if (!queued) call->Done(QueueFullError());
}

template <class Request, class Reply, class Handler>
grpc::ServerUnaryReactor* CallPipeline::UnaryNow(const MethodOptions& method,
                                                 grpc::CallbackServerContext* context,
                                                 const grpc::ByteBuffer* in, grpc::ByteBuffer* out,
                                                 const Handler& handler) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  auto* call = Begin<Request, Reply>(method, context, reactor, *in, out);
  if (call == nullptr) return reactor;
  if (call->has_question()) {
    Later(method, call, handler);
    return reactor;
  }
  if (absl::Status may = call->CheckBeforeHandler(); !may.ok()) {
    call->Done(std::move(may));
    return reactor;
  }
  handler(*call, call->request(),
          [call](const absl::StatusOr<Reply>& reply) { call->Done(reply); });
  return reactor;
}

}  // namespace parley::runtime
