// Calling a service inside the test's own process, through gRPC's in-process channel.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace parley::testing {

// Serves `services` and connects to them. The services must outlive it.
class InProcessServer {
 public:
  explicit InProcessServer(const std::vector<grpc::Service*>& services) {
    grpc::ServerBuilder builder;
    for (grpc::Service* service : services) builder.RegisterService(service);
    server_ = builder.BuildAndStart();
    channel_ = server_->InProcessChannel(grpc::ChannelArguments());
  }
  ~InProcessServer() { server_->Shutdown(); }

  std::shared_ptr<grpc::Channel> channel() const { return channel_; }

 private:
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

// The detail of a kind that a failed call came with; an empty one if it has none.
template <class Detail>
Detail DetailOf(const grpc::Status& status) {
  google::rpc::Status wire;
  Detail detail;
  if (wire.ParseFromString(status.error_details())) {
    for (const auto& any : wire.details()) {
      if (any.UnpackTo(&detail)) return detail;
    }
  }
  return Detail();
}

inline std::string ReasonOf(const grpc::Status& status) {
  return DetailOf<google::rpc::ErrorInfo>(status).reason();
}

// The fields that a failed call's BadRequest names, in its order.
inline std::vector<std::string> FieldsOf(const grpc::Status& status) {
  std::vector<std::string> fields;
  const auto bad_request = DetailOf<google::rpc::BadRequest>(status);
  for (const auto& violation : bad_request.field_violations()) {
    fields.push_back(violation.field());
  }
  return fields;
}

}  // namespace parley::testing
