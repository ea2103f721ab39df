#include "bench/echo.h"

#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "bench/workload.h"
#include "parley/message/v1/message_service.grpc.pb.h"
#include "services/runtime/host.h"
#include "services/runtime/log.h"
#include "services/runtime/metrics.h"

namespace parley::bench {
namespace {

using message::v1::MessageService;

class Echo final
    : public MessageService::WithRawCallbackMethod_ListMessages<MessageService::Service> {
 public:
  explicit Echo(const grpc::ByteBuffer& answer) : answer_(answer) {}

  grpc::ServerUnaryReactor* ListMessages(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* /*in*/,
                                         grpc::ByteBuffer* out) override {
    *out = answer_;  // shares the bytes
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

 private:
  const grpc::ByteBuffer answer_;
};

// One call of the workload's first request.
absl::StatusOr<grpc::ByteBuffer> CallOnce(const std::string& target, const Workload& workload) {
  grpc::GenericStub stub(OpenChannel(target));
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  const auto reader =
      stub.PrepareUnaryCall(&context, workload.method, workload.requests.front(), &queue);
  reader->StartCall();
  grpc::ByteBuffer answer;
  grpc::Status status;
  reader->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (!status.ok()) {
    return absl::UnavailableError(
        absl::StrCat("ListMessages answered ", status.error_code(), ": ", status.error_message()));
  }
  return answer;
}

}  // namespace

absl::Status Capture(const CaptureOptions& options) {
  const absl::StatusOr<Workload> workload =
      MakeWorkload({.scenario = "list", .chat = options.chat, .limit = options.limit});
  if (!workload.ok()) return workload.status();
  const absl::StatusOr<grpc::ByteBuffer> answer = CallOnce(options.target, *workload);
  if (!answer.ok()) return answer.status();
  if (absl::Status status = workload->check(*answer); !status.ok()) return status;
  std::vector<grpc::Slice> slices;
  if (!answer->Dump(&slices).ok()) return absl::InternalError("the answer cannot be read");
  std::ofstream file(options.file, std::ios::binary | std::ios::trunc);
  for (const grpc::Slice& slice : slices) {
    file.write(reinterpret_cast<const char*>(slice.begin()),
               static_cast<std::streamsize>(slice.size()));
  }
  file.close();
  if (!file) return absl::UnknownError(absl::StrCat("cannot write ", options.file));
  return absl::OkStatus();
}

int ServeEcho(const std::string& listen, const std::string& file) {
  runtime::PrepareProcess();
  runtime::InitLog("parley-bench echo", "info");
  std::ifstream in(file, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  if (!in.good() && !in.eof()) {
    std::cerr << "cannot read " << file << std::endl;
    return 1;
  }
  const grpc::Slice slice(bytes);
  Echo echo(grpc::ByteBuffer(&slice, 1));
  runtime::Metrics metrics;
  return runtime::Host({.listen = listen,
                        .admin_listen = "",
                        .metrics = metrics,
                        .drain_delay = absl::ZeroDuration(),
                        .drain_grace = absl::Seconds(1),
                        .ready = [] { return absl::OkStatus(); }},
                       {&echo}, {"parley.message.v1.MessageService"})
      .Run();
}

}  // namespace parley::bench
