// parley.chat.v1.ChatService; the proto says what each call does.
#pragma once

#include "db/repository/chat_repository.h"
#include "db/repository/notifier.h"
#include "parley/chat/v1/chat_service.grpc.pb.h"
#include "services/runtime/call.h"

namespace parley::chat {

// Thread-safe. What it is given must outlive it.
class ChatService final
    : public runtime::RawMethods<v1::ChatService::Service,
                                 v1::ChatService::WithRawCallbackMethod_CreateChat,
                                 v1::ChatService::WithRawCallbackMethod_GetChat,
                                 v1::ChatService::WithRawCallbackMethod_BatchGetChats,
                                 v1::ChatService::WithRawCallbackMethod_ListChats,
                                 v1::ChatService::WithRawCallbackMethod_UpdateChat,
                                 v1::ChatService::WithRawCallbackMethod_DeleteChat,
                                 v1::ChatService::WithRawCallbackMethod_AddUserToChat,
                                 v1::ChatService::WithRawCallbackMethod_RemoveUserFromChat,
                                 v1::ChatService::WithRawCallbackMethod_ListChatUsers,
                                 v1::ChatService::WithRawCallbackMethod_ListUserChats>::type {
 public:
  // `moves` tells which users have come into chats or have left them.
  ChatService(runtime::CallPipeline& calls, db::ChatRepository& chats, db::Notifier& moves)
      : calls_(calls), chats_(chats), moves_(moves) {}

  using Reactor = grpc::ServerUnaryReactor;
  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  Reactor* CreateChat(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* GetChat(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* BatchGetChats(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* ListChats(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* UpdateChat(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* DeleteChat(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* AddUserToChat(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* RemoveUserFromChat(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* ListChatUsers(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* ListUserChats(Context* context, const Bytes* in, Bytes* out) override;

 private:
  absl::StatusOr<v1::Chat> Create(const runtime::Call& call, const v1::CreateChatRequest& request);
  absl::StatusOr<v1::BatchGetChatsResponse> BatchGet(const runtime::Call& call,
                                                     const v1::BatchGetChatsRequest& request);
  absl::StatusOr<v1::ListChatsResponse> List(const runtime::Call& call,
                                             const v1::ListChatsRequest& request);
  absl::StatusOr<v1::Chat> Update(const runtime::Call& call, const v1::UpdateChatRequest& request);
  absl::StatusOr<v1::Chat> AddUser(const runtime::Call& call,
                                   const v1::AddUserToChatRequest& request);
  absl::StatusOr<v1::ListChatUsersResponse> ListMembers(const runtime::Call& call,
                                                        const v1::ListChatUsersRequest& request);
  absl::StatusOr<v1::ListUserChatsResponse> ListOfUser(const runtime::Call& call,
                                                       const v1::ListUserChatsRequest& request);

  runtime::CallPipeline& calls_;
  db::ChatRepository& chats_;
  db::Notifier& moves_;
};

}  // namespace parley::chat
