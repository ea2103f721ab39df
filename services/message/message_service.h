// parley.message.v1.MessageService; the proto says what each call does.
#pragma once

#include "db/repository/message_repository.h"
#include "parley/message/v1/message_service.grpc.pb.h"
#include "services/runtime/call.h"

namespace parley::message {

// Thread-safe. What it is given must outlive it.
class MessageService final
    : public runtime::RawMethods<v1::MessageService::Service,
                                 v1::MessageService::WithRawCallbackMethod_SendMessage,
                                 v1::MessageService::WithRawCallbackMethod_GetMessage,
                                 v1::MessageService::WithRawCallbackMethod_ListMessages,
                                 v1::MessageService::WithRawCallbackMethod_UpdateMessage,
                                 v1::MessageService::WithRawCallbackMethod_DeleteMessage>::type {
 public:
  MessageService(runtime::CallPipeline& calls, db::MessageRepository& messages)
      : calls_(calls), messages_(messages) {}

  using Reactor = grpc::ServerUnaryReactor;
  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  Reactor* SendMessage(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* GetMessage(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* ListMessages(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* UpdateMessage(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* DeleteMessage(Context* context, const Bytes* in, Bytes* out) override;

 private:
  absl::StatusOr<v1::Message> Send(const runtime::Call& call,
                                   const v1::SendMessageRequest& request);
  absl::StatusOr<v1::ListMessagesResponse> List(const runtime::Call& call,
                                                const v1::ListMessagesRequest& request);
  absl::StatusOr<v1::Message> Update(const runtime::Call& call,
                                     const v1::UpdateMessageRequest& request);

  runtime::CallPipeline& calls_;
  db::MessageRepository& messages_;
};

}  // namespace parley::message
