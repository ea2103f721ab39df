#include "services/chat/chat_convert.h"

#include <set>

#include "services/chat/user_convert.h"
#include "services/runtime/wire.h"

namespace parley::chat {
namespace {

constexpr std::size_t kReplyBudget = std::size_t{3} * 1024 * 1024;  // bytes

v1::ChatType ToProto(ChatType type) {
  switch (type) {
    case ChatType::kPrivate:
      return v1::CHAT_TYPE_PRIVATE;
    case ChatType::kGroup:
      return v1::CHAT_TYPE_GROUP;
    case ChatType::kChannel:
      return v1::CHAT_TYPE_CHANNEL;
  }
  return v1::CHAT_TYPE_UNSPECIFIED;
}

v1::ChatRole ToProto(ChatRole role) {
  switch (role) {
    case ChatRole::kOwner:
      return v1::CHAT_ROLE_OWNER;
    case ChatRole::kAdmin:
      return v1::CHAT_ROLE_ADMIN;
    case ChatRole::kMember:
      return v1::CHAT_ROLE_MEMBER;
  }
  return v1::CHAT_ROLE_UNSPECIFIED;
}

}  // namespace

v1::Chat ToProto(const Chat& chat) {
  v1::Chat proto;
  proto.set_id(chat.id);
  proto.set_title(chat.title);
  if (chat.description) proto.set_description(*chat.description);
  proto.set_chat_type(ToProto(chat.chat_type));
  proto.set_creator_user_id(chat.creator_user_id);
  *proto.mutable_create_time() = runtime::ToTimestamp(chat.create_time);
  *proto.mutable_update_time() = runtime::ToTimestamp(chat.update_time);
  proto.set_etag(runtime::ToEtag(chat.version));
  proto.set_user_count(chat.user_count);
  if (chat.retention) *proto.mutable_message_retention() = runtime::ToDuration(*chat.retention);
  for (const User& user : chat.users) *proto.add_users() = ToProto(user);
  return proto;
}

v1::ChatMember ToProto(const ChatMember& member) {
  v1::ChatMember proto;
  proto.set_user_id(member.user.id);
  proto.set_role(ToProto(member.role));
  *proto.mutable_join_time() = runtime::ToTimestamp(member.join_time);
  *proto.mutable_user() = ToProto(member.user);
  return proto;
}

void AppendChats(const std::vector<Chat>& chats,
                 google::protobuf::RepeatedPtrField<v1::Chat>& out) {
  std::size_t size = 0;
  bool full = false;
  for (const Chat& chat : chats) {
    v1::Chat& proto = *out.Add();
    proto = ToProto(chat);
    full = full || size + proto.ByteSizeLong() > kReplyBudget;
    if (full) proto.clear_users();
    size += proto.ByteSizeLong();
  }
}

std::optional<ChatType> FromProto(absl::string_view field, v1::ChatType type,
                                  Violations& violations) {
  switch (type) {
    case v1::CHAT_TYPE_UNSPECIFIED:
      return std::nullopt;
    case v1::CHAT_TYPE_PRIVATE:
      return ChatType::kPrivate;
    case v1::CHAT_TYPE_GROUP:
      return ChatType::kGroup;
    case v1::CHAT_TYPE_CHANNEL:
      return ChatType::kChannel;
    default:
      violations.Add(field, "is not a ChatType");
      return std::nullopt;
  }
}

ChatRole FromProto(absl::string_view field, v1::ChatRole role, Violations& violations) {
  switch (role) {
    case v1::CHAT_ROLE_OWNER:
      return ChatRole::kOwner;
    case v1::CHAT_ROLE_ADMIN:
      return ChatRole::kAdmin;
    case v1::CHAT_ROLE_UNSPECIFIED:
    case v1::CHAT_ROLE_MEMBER:
      return ChatRole::kMember;
    default:
      violations.Add(field, "is not a ChatRole");
      return ChatRole::kMember;
  }
}

ChatChange ToChange(const v1::UpdateChatRequest& request, Violations& violations) {
  const v1::Chat& chat = request.chat();
  std::vector<std::string> populated;
  if (!chat.title().empty()) populated.emplace_back("title");
  if (chat.has_description()) populated.emplace_back("description");
  if (chat.chat_type() != v1::CHAT_TYPE_UNSPECIFIED) populated.emplace_back("chat_type");
  if (chat.has_message_retention()) populated.emplace_back("message_retention");
  const std::set<std::string> fields = runtime::FieldsToUpdate(
      request.has_update_mask() ? &request.update_mask() : nullptr,
      {"title", "description", "chat_type", "message_retention"}, populated, violations);
  ChatChange change;
  if (fields.contains("title")) change.title = chat.title();
  change.set_description = fields.contains("description");
  if (change.set_description && chat.has_description()) change.description = chat.description();
  if (fields.contains("chat_type")) {
    change.chat_type = FromProto("chat.chat_type", chat.chat_type(), violations);
    if (chat.chat_type() == v1::CHAT_TYPE_UNSPECIFIED) {
      violations.Add("chat.chat_type", "must be set");
    }
  }
  change.set_retention = fields.contains("message_retention");
  if (change.set_retention && chat.has_message_retention()) {
    change.retention =
        runtime::FromDuration("chat.message_retention", chat.message_retention(), violations);
  }
  return change;
}

}  // namespace parley::chat
