// What a ListMessages request asks for, and the page that answers it.
#pragma once

#include <cstddef>
#include <string>

#include "base/error.h"
#include "db/repository/message_repository.h"
#include "parley/message/v1/message_service.pb.h"

namespace parley::message {

struct ListRequest {
  db::MessageRepository::ListParams params;
  std::string binding;  // what its page tokens are bound to
};

// Adds all that is wrong to `violations`.
ListRequest FromRequest(const v1::ListMessagesRequest& request, Violations& violations);

// A reply is kept well below the 4 MiB that clients take by default.
inline constexpr std::size_t kMaxPageBytes = 3 * 1024 * 1024;

// The page, cut before it weighs `max_bytes`, but not before its first message.
v1::ListMessagesResponse ToResponse(const db::MessageRepository::MessagePage& page,
                                    const std::string& binding,
                                    std::size_t max_bytes = kMaxPageBytes);

}  // namespace parley::message
