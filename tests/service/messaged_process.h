// What one parley-messaged holds, in the test's process: two of them on one database are two
// replicas.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "db/core/listener.h"
#include "db/core/session_pool.h"
#include "db/repository/event_repository.h"
#include "db/repository/message_repository.h"
#include "db/repository/notifier.h"
#include "parley/message/v1/message_service.grpc.pb.h"
#include "services/message/message_service.h"
#include "services/message/watch_hub.h"
#include "services/runtime/call.h"
#include "services/runtime/executor.h"
#include "tests/support/temp_database.h"

namespace parley::testing {

class MessagedProcess {
 public:
  explicit MessagedProcess(const TempDatabase& database, message::WatchHub::Options options = {})
      : pool_(database.dsn(), PoolOptions()), watches_(events_, notifier_, options) {
    chat_hints_ = std::make_unique<db::Listener>(
        database.dsn(), db::kMessageChannel,
        [this](absl::string_view chats) { watches_.HintChats(chats); });
    member_hints_ = std::make_unique<db::Listener>(
        database.dsn(), db::kMemberChannel,
        [this](absl::string_view users) { watches_.HintMembers(users); });
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    stub_ =
        message::v1::MessageService::NewStub(server_->InProcessChannel(grpc::ChannelArguments()));
  }

  ~MessagedProcess() {
    watches_.Drain();
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(5));
  }

  message::v1::MessageService::Stub& stub() { return *stub_; }
  message::WatchHub& watches() { return watches_; }

 private:
  static db::PoolOptions PoolOptions() {
    db::PoolOptions options;
    options.size = 8;
    return options;
  }
  static runtime::CallPipeline::Options CallOptions() {
    runtime::CallPipeline::Options options;
    options.service = "parley.message.v1.MessageService";
    return options;
  }

  db::SessionPool pool_;
  db::MessageRepository messages_{pool_};
  db::EventRepository events_{pool_};
  db::Notifier notifier_{pool_, db::kMessageChannel};
  message::WatchHub watches_;
  runtime::Executor executor_{{.threads = 4, .queue = 200}};
  runtime::CallPipeline calls_{CallOptions(), executor_};
  db::SearchRepository search_{pool_, "simple"};
  db::ScheduledMessageRepository scheduled_{pool_};
  message::MessageService service_{calls_,
                                   {.messages = messages_,
                                    .search = search_,
                                    .scheduled = scheduled_,
                                    .watches = watches_,
                                    .default_zone = "UTC"}};
  std::unique_ptr<db::Listener> chat_hints_;
  std::unique_ptr<db::Listener> member_hints_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<message::v1::MessageService::Stub> stub_;
};

// One watch, as a caller has it.
class Watching {
 public:
  Watching(MessagedProcess& process, const message::v1::WatchMessagesRequest& request) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    reader_ = process.stub().WatchMessages(&context_, request);
  }
  ~Watching() {
    if (reader_ != nullptr) End();
  }

  // The next frame; false when the stream has ended.
  bool Read(message::v1::WatchMessagesResponse* frame) {
    if (!reader_->Read(frame)) return false;
    token_ = frame->resume_token();
    return true;
  }

  // What comes, as text, until there are `count` events or the stream ends: "+2 hi" is message 2,
  // sent; "~2 ho", changed; "-2", deleted. With more than one chat, "7:+2 hi". A tombstone has no
  // text.
  std::vector<std::string> Events(std::size_t count) {
    std::vector<std::string> events;
    message::v1::WatchMessagesResponse frame;
    while (events.size() < count && Read(&frame)) {
      for (const message::v1::MessageEvent& event : frame.events()) {
        events.push_back(Text(event));
      }
    }
    return events;
  }

  // Leaves, and returns the status.
  grpc::Status End() {
    context_.TryCancel();
    return Finish();
  }
  // How the server has ended it.
  grpc::Status Finish() {
    message::v1::WatchMessagesResponse frame;
    while (reader_->Read(&frame)) {
    }
    const grpc::Status status = reader_->Finish();
    reader_.reset();
    return status;
  }

  // Of the last frame.
  const std::string& token() const { return token_; }

  void ShowChats() { show_chats_ = true; }

 private:
  std::string Text(const message::v1::MessageEvent& event) const {
    const auto& message = event.has_sent()      ? event.sent()
                          : event.has_updated() ? event.updated()
                                                : event.deleted();
    const std::string chat = show_chats_ ? absl::StrCat(message.chat_id(), ":") : "";
    const char* const sign = event.has_sent() ? "+" : event.has_updated() ? "~" : "-";
    return absl::StrCat(chat, sign, message.seq(), message.text().empty() ? "" : " ",
                        message.text());
  }

  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<message::v1::WatchMessagesResponse>> reader_;
  std::string token_;
  bool show_chats_ = false;
};

}  // namespace parley::testing
