// What the load program asks for: requests made beforehand, so that sending one costs next to
// nothing, and what an answer to them must look like.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/scheduler/v1/scheduler_service.pb.h"

namespace parley::bench {

// Which messages, chats and users. The rows are those of sql/prepare.sql.
struct WorkloadOptions {
  std::string scenario;       // "list", "send", "unread", "create" or "create-batch"
  std::int64_t chats = 1000;  // chats 1..chats, each as likely as any other,
  std::int64_t chat = 0;      // or this one only
  std::int32_t limit = 20;    // of a list; an answer must hold as many
  std::int64_t offset = 0;
  std::int64_t user = 2001;     // whose unread counts
  std::int64_t expect = 0;      // how many counts an answer must hold; 0: any number
  std::string queue = "bench";  // of tasks; they are due at once
};

// Requests of one method.
struct Workload {
  std::string method;  // "/package.Service/Method"
  std::vector<grpc::ByteBuffer> requests;
  // Whether an answer is what was asked for. May be called by one thread at a time.
  std::function<absl::Status(const grpc::ByteBuffer& answer)> check;
};

// InvalidArgument: there is no such scenario.
absl::StatusOr<Workload> MakeWorkload(const WorkloadOptions& options);

// The task of all scenarios: next to nothing to store, and nothing to do.
void FillNoop(const std::string& queue, scheduler::v1::CreateTaskRequest& task);

// A channel with a connection of its own.
std::shared_ptr<grpc::Channel> OpenChannel(const std::string& target);

}  // namespace parley::bench
