// Chats and members between the wire and the model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/error.h"
#include "db/model/chat.h"
#include "parley/chat/v1/chat.pb.h"
#include "parley/chat/v1/chat_service.pb.h"

namespace parley::chat {

v1::Chat ToProto(const Chat& chat);
v1::ChatMember ToProto(const ChatMember& member);

// Appends `chats` to a reply of many. From the chat on at which they would exceed 3 MiB, `users`
// stays empty, so that the reply stays under the 4 MiB that clients accept.
void AppendChats(const std::vector<Chat>& chats, google::protobuf::RepeatedPtrField<v1::Chat>& out);

// nullopt for UNSPECIFIED. Adds a violation for a number that is no type.
std::optional<ChatType> FromProto(absl::string_view field, v1::ChatType type,
                                  Violations& violations);

// MEMBER for UNSPECIFIED. Adds a violation for a number that is no role.
ChatRole FromProto(absl::string_view field, v1::ChatRole role, Violations& violations);

// What an UpdateChat is to change; absent means as it is.
struct ChatChange {
  std::optional<std::string> title;
  bool set_description = false;
  std::optional<std::string> description;  // with set_description; absent removes it
  std::optional<ChatType> chat_type;
  bool set_retention = false;
  std::optional<absl::Duration> retention;  // with set_retention; absent: for ever
};
// Reads the mask and the fields it names.
ChatChange ToChange(const v1::UpdateChatRequest& request, Violations& violations);

}  // namespace parley::chat
