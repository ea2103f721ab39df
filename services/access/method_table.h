// The one table of who may call what: every method of every service, the scopes that open it, and
// what it takes of a caller who acts for one user. What is not in the table is closed to everybody.
#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "services/access/scope.h"

namespace parley::access {

// What a request takes of the user for whom its caller acts.
struct Need {
  enum class Kind : std::uint8_t {
    kNothing,  // it is the user's own affair
    kRefused,  // it is not, whatever the database holds
    kMember,   // the user is a member of all chats below
    kManager,  // the same, as owner or admin
    kOwner,    // the same, as owner
  };
  Kind kind = Kind::kRefused;
  std::vector<std::int64_t> chat_ids = {};
  std::vector<std::int64_t> message_ids = {};  // stand for their chats
};

struct MethodAccess {
  std::string method;  // "parley.chat.v1.ChatService/GetChat"
  ScopeSet any_of;     // each of them opens the method
  // Asked with a request of the method's type. Null: not for callers who act for a user.
  std::function<Need(const google::protobuf::Message& request, std::int64_t user_id)> need;
  // What the rest says, for limits: the first of the scopes, and whether either side streams.
  Scope kind = Scope::kAdmin;
  bool is_stream = false;
};

// Null if there is no such method. `service` is the full name. Thread-safe.
const MethodAccess* FindMethod(absl::string_view service, absl::string_view method);

// All of them, for tests.
const std::vector<MethodAccess>& AllMethods();

}  // namespace parley::access
