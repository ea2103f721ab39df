// absl::Status to grpc::Status, with google.rpc details.
#pragma once

#include <google/rpc/status.pb.h>
#include <grpcpp/grpcpp.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace parley::runtime {

// Every error gets an ErrorInfo{reason, "parley"}; violations become BadRequest, a retry delay
// becomes RetryInfo. INTERNAL and UNKNOWN texts are replaced by a neutral one that names `log_id`,
// under which the log has the original (a commit in doubt keeps its text). Messages are cut at 1
// KiB and violations at 20, because the trailers must stay under 8 KiB.
grpc::Status ToGrpcStatus(const absl::Status& status, absl::string_view log_id);

// The same as a message, for replies that hold several outcomes.
google::rpc::Status ToRpcStatus(const absl::Status& status, absl::string_view log_id);

// "NOT_FOUND", for logs.
std::string CodeName(absl::StatusCode code);

}  // namespace parley::runtime
