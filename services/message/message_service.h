// parley.message.v1.MessageService; the proto says what each call does.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "db/repository/message_repository.h"
#include "db/repository/scheduled_message_repository.h"
#include "db/repository/search_repository.h"
#include "parley/message/v1/message_service.grpc.pb.h"
#include "services/message/watch_hub.h"
#include "services/runtime/call.h"

namespace parley::message {

// Thread-safe. What it is given must outlive it. The calls that carry the load, those that send,
// read and count, are handed to the repository's hot lanes on gRPC's own thread; the others run on
// the pipeline's executor.
class MessageService final
    : public runtime::RawMethods<v1::MessageService::Service,
                                 v1::MessageService::WithRawCallbackMethod_SendMessage,
                                 v1::MessageService::WithRawCallbackMethod_BatchSendMessages,
                                 v1::MessageService::WithRawCallbackMethod_GetMessage,
                                 v1::MessageService::WithRawCallbackMethod_BatchGetMessages,
                                 v1::MessageService::WithRawCallbackMethod_ListMessages,
                                 v1::MessageService::WithRawCallbackMethod_UpdateMessage,
                                 v1::MessageService::WithRawCallbackMethod_DeleteMessage,
                                 v1::MessageService::WithRawCallbackMethod_ListMessageRevisions,
                                 v1::MessageService::WithRawCallbackMethod_MarkRead,
                                 v1::MessageService::WithRawCallbackMethod_GetUnreadCounts,
                                 v1::MessageService::WithRawCallbackMethod_SearchMessages,
                                 v1::MessageService::WithRawCallbackMethod_ScheduleMessage,
                                 v1::MessageService::WithRawCallbackMethod_CancelScheduledMessage,
                                 v1::MessageService::WithRawCallbackMethod_ListScheduledMessages,
                                 v1::MessageService::WithRawCallbackMethod_WatchMessages>::type {
 public:
  struct Parts {
    db::MessageRepository& messages;
    db::SearchRepository& search;
    db::ScheduledMessageRepository& scheduled;
    WatchHub& watches;
    std::string default_zone;  // a known IANA zone, for local times that name none
    // Called after each commit of a scheduled message; any thread, must not block.
    std::function<void()> on_scheduled = [] {};
  };
  MessageService(runtime::CallPipeline& calls, Parts parts)
      : calls_(calls), parts_(std::move(parts)), messages_(parts_.messages) {}

  using Reactor = grpc::ServerUnaryReactor;
  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  // message_service.cc
  Reactor* SendMessage(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* BatchSendMessages(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* GetMessage(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* BatchGetMessages(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* ListMessages(Context* context, const Bytes* in, Bytes* out) override;
  // message_service_change.cc
  Reactor* UpdateMessage(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* DeleteMessage(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* ListMessageRevisions(Context* context, const Bytes* in, Bytes* out) override;
  // message_service_unread.cc
  Reactor* MarkRead(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* GetUnreadCounts(Context* context, const Bytes* in, Bytes* out) override;
  // message_service_search.cc
  Reactor* SearchMessages(Context* context, const Bytes* in, Bytes* out) override;

  // message_service_schedule.cc
  Reactor* ScheduleMessage(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* CancelScheduledMessage(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* ListScheduledMessages(Context* context, const Bytes* in, Bytes* out) override;

  grpc::ServerWriteReactor<Bytes>* WatchMessages(Context* context, const Bytes* in) override;

 private:
  template <class Reply>
  using Done = std::function<void(absl::StatusOr<Reply>)>;

  void Send(const runtime::Call& call, const v1::SendMessageRequest& request,
            Done<v1::Message> done);
  void BatchSend(const runtime::Call& call, const v1::BatchSendMessagesRequest& request,
                 Done<v1::BatchSendMessagesResponse> done);
  void BatchGet(const runtime::Call& call, const v1::BatchGetMessagesRequest& request,
                Done<v1::BatchGetMessagesResponse> done);
  void List(const runtime::Call& call, const v1::ListMessagesRequest& request,
            Done<v1::ListMessagesResponse> done);
  absl::StatusOr<v1::Message> Update(const runtime::Call& call,
                                     const v1::UpdateMessageRequest& request);
  absl::StatusOr<v1::ListMessageRevisionsResponse> ListRevisions(
      const runtime::Call& call, const v1::ListMessageRevisionsRequest& request);
  void Unread(const runtime::Call& call, const v1::GetUnreadCountsRequest& request,
              Done<v1::GetUnreadCountsResponse> done);
  absl::StatusOr<v1::SearchMessagesResponse> Search(const runtime::Call& call,
                                                    const v1::SearchMessagesRequest& request);

  absl::StatusOr<v1::ScheduledMessage> Schedule(const runtime::Call& call,
                                                const v1::ScheduleMessageRequest& request);
  absl::StatusOr<v1::ListScheduledMessagesResponse> ListScheduled(
      const runtime::Call& call, const v1::ListScheduledMessagesRequest& request);

  runtime::CallPipeline& calls_;
  const Parts parts_;
  db::MessageRepository& messages_;
};

}  // namespace parley::message
