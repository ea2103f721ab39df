#include "services/chat/chat_service.h"

#include <google/protobuf/empty.pb.h>

#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/fingerprint.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "services/chat/chat_convert.h"
#include "services/chat/chat_rules.h"
#include "services/chat/user_rules.h"
#include "services/runtime/page_token.h"
#include "services/runtime/wire.h"

namespace parley::chat {
namespace {

using google::protobuf::Empty;
using runtime::Call;
using runtime::PageRequest;

PageParams<std::int64_t> ToParams(const PageRequest& page) {
  return {page.limit, page.offset, page.number()};
}

std::string NextToken(const std::string& binding, const std::optional<std::int64_t>& next) {
  return next ? runtime::EncodePageToken(binding, absl::StrCat(*next)) : "";
}

}  // namespace

grpc::ServerUnaryReactor* ChatService::CreateChat(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<v1::CreateChatRequest, v1::Chat>(
      {.name = "CreateChat"}, context, in, out,
      [this](const Call& call, const v1::CreateChatRequest& request) {
        return Create(call, request);
      });
}

absl::StatusOr<v1::Chat> ChatService::Create(const Call& call,
                                             const v1::CreateChatRequest& request) {
  Violations violations;
  db::ChatRepository::CreateParams params;
  CheckId("creator_user_id", request.creator_user_id(), violations);
  params.creator_user_id = request.creator_user_id();
  CheckTitle("title", request.title(), violations);
  params.title = request.title();
  if (request.has_description()) {
    CheckDescription("description", request.description(), violations);
    params.description = request.description();
  }
  const std::optional<ChatType> type = FromProto("chat_type", request.chat_type(), violations);
  if (request.chat_type() == v1::CHAT_TYPE_UNSPECIFIED) {
    violations.Add("chat_type", "must be set");
  }
  params.chat_type = type.value_or(ChatType::kPrivate);
  if (request.has_message_retention()) {
    params.retention =
        runtime::FromDuration("message_retention", request.message_retention(), violations);
    if (params.retention) CheckRetention("message_retention", *params.retention, violations);
  }
  params.user_ids =
      FirstMembers(request.creator_user_id(),
                   {request.user_ids().begin(), request.user_ids().end()}, violations);
  CheckRequestId(request.request_id(), violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  params.request_id = request.request_id();
  // Nothing for none, so that requests of before there was a retention are still known.
  const std::string retention =
      params.retention ? absl::StrCat(" ", absl::FormatDuration(*params.retention)) : "";
  params.fingerprint = Fingerprint({request.title(), request.has_description() ? "description" : "",
                                    request.description(), absl::StrCat(request.chat_type()),
                                    absl::StrCat(absl::StrJoin(params.user_ids, ","), retention)});
  PARLEY_ASSIGN_OR_RETURN(const Chat chat, chats_.Create(params, call.deadline()));
  for (const std::int64_t user_id : params.user_ids) moves_.Notify(user_id);
  return ToProto(chat);
}

grpc::ServerUnaryReactor* ChatService::GetChat(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<v1::GetChatRequest, v1::Chat>(
      {.name = "GetChat"}, context, in, out,
      [this](const Call& call, const v1::GetChatRequest& request) -> absl::StatusOr<v1::Chat> {
        Violations violations;
        CheckId("chat_id", request.chat_id(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_ASSIGN_OR_RETURN(const Chat chat, chats_.Get(request.chat_id(), call.deadline()));
        return ToProto(chat);
      });
}

grpc::ServerUnaryReactor* ChatService::BatchGetChats(Context* context, const Bytes* in,
                                                     Bytes* out) {
  return calls_.Unary<v1::BatchGetChatsRequest, v1::BatchGetChatsResponse>(
      {.name = "BatchGetChats"}, context, in, out,
      [this](const Call& call, const v1::BatchGetChatsRequest& request) {
        return BatchGet(call, request);
      });
}

absl::StatusOr<v1::BatchGetChatsResponse> ChatService::BatchGet(
    const Call& call, const v1::BatchGetChatsRequest& request) {
  Violations violations;
  const std::vector<std::int64_t> ids(request.chat_ids().begin(), request.chat_ids().end());
  CheckIds("chat_ids", ids, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(std::vector<Chat> found, chats_.BatchGet(ids, call.deadline()));
  std::unordered_map<std::int64_t, Chat*> left;
  for (Chat& chat : found) left[chat.id] = &chat;
  std::vector<Chat> chats;
  for (const std::int64_t id : ids) {
    if (const auto node = left.extract(id)) chats.push_back(std::move(*node.mapped()));
  }
  v1::BatchGetChatsResponse response;
  AppendChats(chats, *response.mutable_chats());
  return response;
}

grpc::ServerUnaryReactor* ChatService::ListChats(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<v1::ListChatsRequest, v1::ListChatsResponse>(
      {.name = "ListChats"}, context, in, out,
      [this](const Call& call, const v1::ListChatsRequest& request) {
        return List(call, request);
      });
}

absl::StatusOr<v1::ListChatsResponse> ChatService::List(const Call& call,
                                                        const v1::ListChatsRequest& request) {
  Violations violations;
  const std::optional<ChatType> type = FromProto("chat_type", request.chat_type(), violations);
  const std::string binding = Fingerprint({"ListChats", absl::StrCat(request.chat_type())});
  const PageRequest page = runtime::CheckPage(
      {request.limit(), request.offset(), request.page_token()}, binding, {}, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const auto chats, chats_.List(ToParams(page), type, call.deadline()));
  v1::ListChatsResponse response;
  AppendChats(chats.rows, *response.mutable_chats());
  response.set_next_page_token(NextToken(binding, chats.next));
  return response;
}

grpc::ServerUnaryReactor* ChatService::UpdateChat(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<v1::UpdateChatRequest, v1::Chat>(
      {.name = "UpdateChat"}, context, in, out,
      [this](const Call& call, const v1::UpdateChatRequest& request) {
        return Update(call, request);
      });
}

absl::StatusOr<v1::Chat> ChatService::Update(const Call& call,
                                             const v1::UpdateChatRequest& request) {
  Violations violations;
  CheckId("chat.id", request.chat().id(), violations);
  const ChatChange change = ToChange(request, violations);
  if (change.title) CheckTitle("chat.title", *change.title, violations);
  if (change.description) CheckDescription("chat.description", *change.description, violations);
  if (change.retention) CheckRetention("chat.message_retention", *change.retention, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(
      const Chat chat, chats_.Update({.id = request.chat().id(),
                                      .title = change.title,
                                      .set_description = change.set_description,
                                      .description = change.description,
                                      .chat_type = change.chat_type,
                                      .set_retention = change.set_retention,
                                      .retention = change.retention,
                                      .version = runtime::VersionFromEtag(request.chat().etag())},
                                     call.deadline()));
  return ToProto(chat);
}

grpc::ServerUnaryReactor* ChatService::DeleteChat(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<v1::DeleteChatRequest, Empty>(
      {.name = "DeleteChat"}, context, in, out,
      [this](const Call& call, const v1::DeleteChatRequest& request) -> absl::StatusOr<Empty> {
        Violations violations;
        CheckId("chat_id", request.chat_id(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_RETURN_IF_ERROR(chats_.Delete(request.chat_id(), call.deadline()));
        return Empty();
      });
}

grpc::ServerUnaryReactor* ChatService::AddUserToChat(Context* context, const Bytes* in,
                                                     Bytes* out) {
  return calls_.Unary<v1::AddUserToChatRequest, v1::Chat>(
      {.name = "AddUserToChat"}, context, in, out,
      [this](const Call& call, const v1::AddUserToChatRequest& request) {
        return AddUser(call, request);
      });
}

absl::StatusOr<v1::Chat> ChatService::AddUser(const Call& call,
                                              const v1::AddUserToChatRequest& request) {
  Violations violations;
  CheckId("chat_id", request.chat_id(), violations);
  CheckId("user_id", request.user_id(), violations);
  const ChatRole role = FromProto("role", request.role(), violations);
  CheckRequestId(request.request_id(), violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(
      const Chat chat,
      chats_.AddMember({.chat_id = request.chat_id(),
                        .user_id = request.user_id(),
                        .role = role,
                        .request_id = request.request_id(),
                        .fingerprint = Fingerprint({absl::StrCat(request.user_id()),
                                                    absl::StrCat(static_cast<int>(role))})},
                       call.deadline()));
  moves_.Notify(request.user_id());
  return ToProto(chat);
}

grpc::ServerUnaryReactor* ChatService::RemoveUserFromChat(Context* context, const Bytes* in,
                                                          Bytes* out) {
  return calls_.Unary<v1::RemoveUserFromChatRequest, v1::Chat>(
      {.name = "RemoveUserFromChat"}, context, in, out,
      [this](const Call& call,
             const v1::RemoveUserFromChatRequest& request) -> absl::StatusOr<v1::Chat> {
        Violations violations;
        CheckId("chat_id", request.chat_id(), violations);
        CheckId("user_id", request.user_id(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_ASSIGN_OR_RETURN(
            const Chat chat,
            chats_.RemoveMember(request.chat_id(), request.user_id(), call.deadline()));
        moves_.Notify(request.user_id());
        return ToProto(chat);
      });
}

grpc::ServerUnaryReactor* ChatService::ListChatUsers(Context* context, const Bytes* in,
                                                     Bytes* out) {
  return calls_.Unary<v1::ListChatUsersRequest, v1::ListChatUsersResponse>(
      {.name = "ListChatUsers"}, context, in, out,
      [this](const Call& call, const v1::ListChatUsersRequest& request) {
        return ListMembers(call, request);
      });
}

absl::StatusOr<v1::ListChatUsersResponse> ChatService::ListMembers(
    const Call& call, const v1::ListChatUsersRequest& request) {
  Violations violations;
  CheckId("chat_id", request.chat_id(), violations);
  const std::string binding = Fingerprint({"ListChatUsers", absl::StrCat(request.chat_id())});
  const PageRequest page = runtime::CheckPage(
      {request.limit(), request.offset(), request.page_token()}, binding, {}, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const auto members,
                          chats_.ListMembers(request.chat_id(), ToParams(page), call.deadline()));
  v1::ListChatUsersResponse response;
  for (const ChatMember& member : members.rows) *response.add_members() = ToProto(member);
  response.set_next_page_token(NextToken(binding, members.next));
  return response;
}

grpc::ServerUnaryReactor* ChatService::ListUserChats(Context* context, const Bytes* in,
                                                     Bytes* out) {
  return calls_.Unary<v1::ListUserChatsRequest, v1::ListUserChatsResponse>(
      {.name = "ListUserChats"}, context, in, out,
      [this](const Call& call, const v1::ListUserChatsRequest& request) {
        return ListOfUser(call, request);
      });
}

absl::StatusOr<v1::ListUserChatsResponse> ChatService::ListOfUser(
    const Call& call, const v1::ListUserChatsRequest& request) {
  Violations violations;
  CheckId("user_id", request.user_id(), violations);
  const std::string binding = Fingerprint({"ListUserChats", absl::StrCat(request.user_id())});
  const PageRequest page = runtime::CheckPage(
      {request.limit(), request.offset(), request.page_token()}, binding, {}, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const auto chats,
                          chats_.ListOfUser(request.user_id(), ToParams(page), call.deadline()));
  v1::ListUserChatsResponse response;
  AppendChats(chats.rows, *response.mutable_chats());
  response.set_next_page_token(NextToken(binding, chats.next));
  return response;
}

}  // namespace parley::chat
