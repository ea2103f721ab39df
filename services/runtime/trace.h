// W3C Trace Context: which trace a call belongs to.
#pragma once

#include <grpcpp/grpcpp.h>

#include <array>
#include <string>

#include "absl/strings/string_view.h"

namespace parley::runtime {

// A place in a trace. The span is this server's own; nothing is exported, so whoever collects
// traces finds it in the log lines.
class TraceContext {
 public:
  // A new span: of the caller's trace if `traceparent` is valid, otherwise of a new trace, and then
  // `tracestate` is dropped. A tracestate that is malformed, or longer than 512 bytes, is dropped.
  static TraceContext Continue(absl::string_view traceparent, absl::string_view tracestate);
  // What a call brings along.
  static TraceContext Of(const grpc::CallbackServerContext& context);

  // Lower-case hex digits.
  absl::string_view trace_id() const { return {trace_id_.data(), trace_id_.size()}; }
  absl::string_view span_id() const { return {span_id_.data(), span_id_.size()}; }

  // What to send with calls that are made on behalf of this span.
  std::string traceparent() const;
  const std::string& tracestate() const { return tracestate_; }  // may be empty

 private:
  std::array<char, 32> trace_id_;
  std::array<char, 16> span_id_;
  bool sampled_ = false;
  std::string tracestate_;
};

}  // namespace parley::runtime
