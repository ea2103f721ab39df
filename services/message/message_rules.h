// What a message may look like. Pure functions; each adds what is wrong to `violations`.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "base/error.h"
#include "db/model/message.h"

namespace parley::message {

// Ids are positive.
void CheckId(absl::string_view field, std::int64_t id, Violations& violations);

// 1..1024 code points.
void CheckMessageText(absl::string_view field, absl::string_view text, Violations& violations);

// The fields that name a message, as paths in the request.
struct KeyFields {
  absl::string_view id = "message_id";
  absl::string_view chat_id = "chat_id";
  absl::string_view seq = "seq";
};
// Either the id, or chat_id and seq; positive.
void CheckKey(const MessageKey& key, const KeyFields& fields, Violations& violations);

}  // namespace parley::message
