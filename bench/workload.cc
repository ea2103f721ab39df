#include "bench/workload.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "parley/message/v1/message_service.pb.h"

namespace parley::bench {
namespace {

namespace v1 = message::v1;

// As in sql/prepare.sql and sql/send.sql: who the 20 senders of a chat are.
constexpr std::int64_t kMembers = 20;
constexpr std::int64_t kUsers = 2000;
std::int64_t MemberOf(std::int64_t chat, std::int64_t member) {
  return (chat * 7 + member * 13) % kUsers + 1;
}

template <typename Request>
grpc::ByteBuffer Serialize(const Request& request) {
  const grpc::Slice slice(request.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

template <typename Response>
absl::StatusOr<Response> Parse(grpc::ByteBuffer answer) {
  Response response;
  const grpc::Status status = grpc::SerializationTraits<Response>::Deserialize(&answer, &response);
  if (!status.ok()) return absl::DataLossError("an answer does not parse");
  return response;
}

absl::Status CheckCount(std::int64_t wanted, std::int64_t got) {
  if (wanted == got) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("an answer holds ", got, " instead of ", wanted));
}

std::vector<std::int64_t> ChatsOf(const WorkloadOptions& options) {
  if (options.chat > 0) return {options.chat};
  std::vector<std::int64_t> chats;
  for (std::int64_t chat = 1; chat <= options.chats; ++chat) chats.push_back(chat);
  return chats;
}

Workload List(const WorkloadOptions& options) {
  Workload workload{.method = "/parley.message.v1.MessageService/ListMessages"};
  for (const std::int64_t chat : ChatsOf(options)) {
    v1::ListMessagesRequest request;
    request.set_chat_id(chat);
    request.set_limit(options.limit);
    request.set_offset(options.offset);
    workload.requests.push_back(Serialize(request));
  }
  workload.check = [limit = options.limit](const grpc::ByteBuffer& answer) {
    const absl::StatusOr<v1::ListMessagesResponse> page = Parse<v1::ListMessagesResponse>(answer);
    return page.ok() ? CheckCount(limit, page->messages_size()) : page.status();
  };
  return workload;
}

Workload Send(const WorkloadOptions& options) {
  Workload workload{.method = "/parley.message.v1.MessageService/SendMessage"};
  for (const std::int64_t chat : ChatsOf(options)) {
    for (std::int64_t member = 1; member <= kMembers; ++member) {
      v1::SendMessageRequest request;
      request.set_chat_id(chat);
      request.set_user_id(MemberOf(chat, member));
      request.set_text(absl::StrCat("hello this is a bench message number ", member));
      workload.requests.push_back(Serialize(request));
    }
  }
  workload.check = [](const grpc::ByteBuffer& answer) {
    const absl::StatusOr<v1::Message> message = Parse<v1::Message>(answer);
    if (!message.ok()) return message.status();
    if (message->seq() > 0 && !message->text().empty()) return absl::OkStatus();
    return absl::DataLossError("an answer holds no message");
  };
  return workload;
}

Workload Unread(const WorkloadOptions& options) {
  Workload workload{.method = "/parley.message.v1.MessageService/GetUnreadCounts"};
  v1::GetUnreadCountsRequest request;
  request.set_user_id(options.user);
  workload.requests.push_back(Serialize(request));
  workload.check = [expect = options.expect](const grpc::ByteBuffer& answer) {
    const absl::StatusOr<v1::GetUnreadCountsResponse> counts =
        Parse<v1::GetUnreadCountsResponse>(answer);
    if (!counts.ok()) return counts.status();
    return expect > 0 ? CheckCount(expect, counts->counts_size()) : absl::OkStatus();
  };
  return workload;
}

constexpr int kTasksInABatch = 1000;

Workload Create(const WorkloadOptions& options) {
  Workload workload{.method = "/parley.scheduler.v1.SchedulerService/CreateTask"};
  scheduler::v1::CreateTaskRequest request;
  FillNoop(options.queue, request);
  workload.requests.push_back(Serialize(request));
  workload.check = [](const grpc::ByteBuffer& answer) {
    const absl::StatusOr<scheduler::v1::Task> task = Parse<scheduler::v1::Task>(answer);
    if (!task.ok()) return task.status();
    return task->id() > 0 ? absl::OkStatus() : absl::DataLossError("an answer holds no task");
  };
  return workload;
}

Workload CreateBatch(const WorkloadOptions& options) {
  Workload workload{.method = "/parley.scheduler.v1.SchedulerService/BatchCreateTasks"};
  scheduler::v1::BatchCreateTasksRequest request;
  for (int i = 0; i < kTasksInABatch; ++i) FillNoop(options.queue, *request.add_requests());
  workload.requests.push_back(Serialize(request));
  workload.check = [](const grpc::ByteBuffer& answer) {
    const auto batch = Parse<scheduler::v1::BatchCreateTasksResponse>(answer);
    if (!batch.ok()) return batch.status();
    for (const auto& result : batch->results()) {
      if (result.task_id() <= 0) return absl::DataLossError("a task was not created");
    }
    return CheckCount(kTasksInABatch, batch->results_size());
  };
  return workload;
}

}  // namespace

absl::StatusOr<Workload> MakeWorkload(const WorkloadOptions& options) {
  if (options.scenario == "list") return List(options);
  if (options.scenario == "send") return Send(options);
  if (options.scenario == "unread") return Unread(options);
  if (options.scenario == "create") return Create(options);
  if (options.scenario == "create-batch") return CreateBatch(options);
  return absl::InvalidArgumentError(absl::StrCat("no scenario ", options.scenario));
}

void FillNoop(const std::string& queue, scheduler::v1::CreateTaskRequest& task) {
  task.set_queue(queue);
  task.set_name("noop");
  task.set_payload("{\"n\": 1}");
}

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& target) {
  grpc::ChannelArguments arguments;
  // Else all channels to one target would share one connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A proxy configured for the outside world has nothing to do with a benchmark.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace parley::bench
