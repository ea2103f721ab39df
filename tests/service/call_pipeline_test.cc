// The road of a call, driven through a real service: deadlines, cancellation, full queues, bytes
// that are no request.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "parley/message/v1/message_service.grpc.pb.h"
#include "services/runtime/call.h"
#include "tests/support/service_client.h"

namespace parley::runtime {
namespace {

using grpc::StatusCode;
using message::v1::GetMessageRequest;
using message::v1::Message;
using message::v1::MessageService;
using parley::testing::DetailOf;
using parley::testing::InProcessServer;
using parley::testing::ReasonOf;

// A service whose only call does what the test says.
class Scripted final : public RawMethods<MessageService::Service,
                                         MessageService::WithRawCallbackMethod_GetMessage>::type {
 public:
  using Script = std::function<absl::StatusOr<Message>(const Call&)>;
  Scripted(CallPipeline& calls, Script script) : calls_(calls), script_(std::move(script)) {}
  grpc::ServerUnaryReactor* GetMessage(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* in, grpc::ByteBuffer* out) override {
    return calls_.Unary<GetMessageRequest, Message>(
        {.name = "GetMessage"}, context, in, out,
        [this](const Call& call, const GetMessageRequest&) { return script_(call); });
  }

 private:
  CallPipeline& calls_;
  const Script script_;
};

grpc::Status Get(const InProcessServer& server, grpc::ClientContext& context) {
  Message reply;
  return MessageService::NewStub(server.channel())
      ->GetMessage(&context, GetMessageRequest(), &reply);
}

TEST(CallPipeline, GivesACallWithoutADeadlineTheDefaultAndCutsALongOne) {
  Executor executor({.threads = 1});
  CallPipeline calls({.service = "parley.message.v1.MessageService",
                      .default_deadline = absl::Seconds(7),
                      .max_deadline = absl::Seconds(50)},
                     executor);
  absl::Duration left;
  Scripted service(calls, [&](const Call& call) {
    left = call.deadline() - absl::Now();
    return Message();
  });
  InProcessServer server({&service});
  grpc::ClientContext without;
  EXPECT_TRUE(Get(server, without).ok());
  EXPECT_LE(left, absl::Seconds(7));
  EXPECT_GT(left, absl::Seconds(0));
  grpc::ClientContext with_long;
  with_long.set_deadline(std::chrono::system_clock::now() + std::chrono::hours(1));
  EXPECT_TRUE(Get(server, with_long).ok());
  EXPECT_LE(left, absl::Seconds(50));
  EXPECT_GT(left, absl::Seconds(7));
  grpc::ClientContext with_endless;
  with_endless.set_deadline(gpr_time_from_seconds(8'000'000'000, GPR_TIMESPAN));
  EXPECT_TRUE(Get(server, with_endless).ok());
  EXPECT_LE(left, absl::Seconds(50));
  EXPECT_GT(left, absl::Seconds(7));
}

TEST(CallPipeline, RefusesWhatDoesNotFitIntoTheQueueAndSaysWhenToRetry) {
  std::promise<void> started;
  std::promise<void> gate;
  Executor executor({.threads = 1, .queue = 0});  // ends before what its work refers to
  CallPipeline calls({.service = "parley.message.v1.MessageService"}, executor);
  Scripted service(calls, [&](const Call&) {
    started.set_value();
    gate.get_future().wait();
    return Message();
  });
  InProcessServer server({&service});
  std::thread first([&] {
    grpc::ClientContext context;
    grpc::Status status = Get(server, context);
    // The executor's thread may not have been waiting for work yet.
    while (status.error_code() == StatusCode::RESOURCE_EXHAUSTED) {
      grpc::ClientContext again;
      status = Get(server, again);
    }
    EXPECT_TRUE(status.ok());
  });
  started.get_future().wait();
  grpc::ClientContext context;
  const grpc::Status refused = Get(server, context);
  EXPECT_EQ(refused.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(refused), "QUEUE_FULL");
  EXPECT_GT(DetailOf<google::rpc::RetryInfo>(refused).retry_delay().nanos(), 0);
  gate.set_value();
  first.join();
}

// The value of a series, by its name and labels as they are written.
std::string ValueOf(const Metrics& metrics, const std::string& series) {
  const std::string text = "\n" + metrics.Text();
  const std::size_t at = text.find("\n" + series + " ");
  if (at == std::string::npos) return "absent";
  const std::size_t value = at + series.size() + 2;
  return text.substr(value, text.find('\n', value) - value);
}

TEST(CallPipeline, CountsCallsByHowTheyEnd) {
  Executor executor({.threads = 1});
  CallPipeline calls({.service = "parley.message.v1.MessageService"}, executor);
  Metrics metrics;
  calls.metrics().AddTo(metrics);
  int asked = 0;
  Scripted service(calls, [&](const Call&) -> absl::StatusOr<Message> {
    if (++asked == 3) return absl::NotFoundError("it is not there");
    return Message();
  });
  const std::string labels =
      "{grpc_type=\"unary\",grpc_service=\"parley.message.v1.MessageService\","
      "grpc_method=\"GetMessage\"";
  EXPECT_EQ(ValueOf(metrics, "grpc_server_started_total" + labels + "}"), "0");
  EXPECT_EQ(ValueOf(metrics, "grpc_server_handled_total" + labels + ",grpc_code=\"DataLoss\"}"),
            "0");
  {
    InProcessServer server({&service});
    for (int i = 0; i < 3; ++i) {
      grpc::ClientContext context;
      Get(server, context);
    }
    grpc::ClientContext context;
    grpc::GenericStub stub(server.channel());
    const grpc::Slice no_request("\xff\xff");
    grpc::ByteBuffer in(&no_request, 1);
    grpc::ByteBuffer out;
    std::promise<grpc::Status> done;
    stub.UnaryCall(&context, "/parley.message.v1.MessageService/GetMessage", {}, &in, &out,
                   [&](grpc::Status status) { done.set_value(std::move(status)); });
    EXPECT_EQ(done.get_future().get().error_code(), StatusCode::INVALID_ARGUMENT);
  }  // waits until every call has ended
  const auto handled = [&](const std::string& code) {
    return ValueOf(metrics, "grpc_server_handled_total" + labels + ",grpc_code=\"" + code + "\"}");
  };
  EXPECT_EQ(ValueOf(metrics, "grpc_server_started_total" + labels + "}"), "4");
  EXPECT_EQ(ValueOf(metrics, "grpc_server_msg_received_total" + labels + "}"), "4");
  EXPECT_EQ(ValueOf(metrics, "grpc_server_msg_sent_total" + labels + "}"), "2");
  EXPECT_EQ(ValueOf(metrics, "grpc_server_handling_seconds_count" + labels + "}"), "4");
  EXPECT_EQ(handled("OK"), "2");
  EXPECT_EQ(handled("NotFound"), "1");
  EXPECT_EQ(handled("InvalidArgument"), "1");
  EXPECT_EQ(handled("Canceled"), "0");
}

TEST(CallPipeline, DoesNoWorkForCallersThatLeftOrCallsThatAreLate) {
  std::promise<void> started;
  std::promise<void> gate;
  Executor executor({.threads = 1});
  CallPipeline calls({.service = "parley.message.v1.MessageService"}, executor);
  ASSERT_TRUE(executor.Submit([&] {
    started.set_value();
    gate.get_future().wait();
  }));
  started.get_future().wait();
  std::atomic<int> handled{0};
  Scripted service(calls, [&](const Call&) {
    ++handled;
    return Message();
  });
  {
    InProcessServer server({&service});
    grpc::ClientContext late;
    late.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(30));
    EXPECT_EQ(Get(server, late).error_code(), StatusCode::DEADLINE_EXCEEDED);
    gate.set_value();
  }  // waits until every call has ended
  EXPECT_EQ(handled, 0);
}

TEST(CallPipeline, TellsTheHandlerThatItsCallerHasLeft) {
  std::promise<void> started;
  std::atomic<bool> noticed{false};
  Executor executor({.threads = 1});
  CallPipeline calls({.service = "parley.message.v1.MessageService"}, executor);
  Scripted service(calls, [&](const Call& call) -> absl::StatusOr<Message> {
    started.set_value();
    while (!call.IsCancelled()) std::this_thread::yield();
    noticed = true;
    return call.CheckAlive();
  });
  InProcessServer server({&service});
  grpc::ClientContext context;
  std::thread caller([&] { EXPECT_EQ(Get(server, context).error_code(), StatusCode::CANCELLED); });
  started.get_future().wait();
  context.TryCancel();
  caller.join();
  while (!noticed) std::this_thread::yield();
}

TEST(CallPipeline, AnswersBytesThatAreNoRequestWithTheFieldThatIsWrong) {
  Executor executor({.threads = 1});
  CallPipeline calls({.service = "parley.message.v1.MessageService"}, executor);
  Scripted service(calls, [](const Call&) { return Message(); });
  InProcessServer server({&service});
  grpc::GenericStub stub(server.channel());
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const grpc::Slice slice(std::string("\xff\xff\xff"));
  const auto call = stub.PrepareUnaryCall(&context, "/parley.message.v1.MessageService/GetMessage",
                                          grpc::ByteBuffer(&slice, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer reply;
  grpc::Status status;
  call->Finish(&reply, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(status), "INVALID_ARGUMENT");
  queue.Shutdown();
}

}  // namespace
}  // namespace parley::runtime
