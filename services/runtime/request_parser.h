// Requests from bytes, replies to bytes.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/grpcpp.h>

#include "absl/status/status.h"

namespace parley::runtime {

// Parses `bytes` into `request`. INVALID_ARGUMENT if they are no such message; if that is because
// of invalid UTF-8 in string fields, the violations name the fields.
absl::Status ParseRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& request);

// INTERNAL if the reply cannot be written, which would be a bug.
absl::Status SerializeReply(const google::protobuf::Message& reply, grpc::ByteBuffer& bytes);

// RESOURCE_EXHAUSTED, reason QUEUE_FULL, with a delay to wait.
absl::Status QueueFullError();

}  // namespace parley::runtime
