// What a message may look like. Pure functions; each adds what is wrong to `violations`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "db/model/message.h"

namespace parley::message {

// Ids are positive.
void CheckId(absl::string_view field, std::int64_t id, Violations& violations);

// At most `max` ids, each positive. The fields are named field[i].
void CheckIds(absl::string_view field, const std::vector<std::int64_t>& ids, std::size_t max,
              Violations& violations);

// How many chats a request for unread counts may name.
inline constexpr std::size_t kMaxUnreadChats = 1000;

// 0, or positive.
void CheckReplyTo(absl::string_view field, std::int64_t seq, Violations& violations);

// Either 1..100 message ids, or a chat and 1..100 seqs; all positive.
void CheckBatchGet(const std::vector<std::int64_t>& message_ids, std::int64_t chat_id,
                   const std::vector<std::int64_t>& seqs, Violations& violations);

// 1..1024 code points.
void CheckMessageText(absl::string_view field, absl::string_view text, Violations& violations);

// 1..1024 code points.
void CheckSearchQuery(absl::string_view field, absl::string_view query, Violations& violations);

// Whether it can be the name of a text search configuration: lower case letters, digits and
// underscores, not a digit first. The database tells whether it is one.
bool IsSearchLanguage(absl::string_view name);

// The fields that name a message, as paths in the request.
struct KeyFields {
  absl::string_view id = "message_id";
  absl::string_view chat_id = "chat_id";
  absl::string_view seq = "seq";
};
// Either the id, or chat_id and seq; positive.
void CheckKey(const MessageKey& key, const KeyFields& fields, Violations& violations);

// What to watch: either chats, at most 1000, or a user.
void CheckWatched(const std::vector<std::int64_t>& chat_ids, std::int64_t user_id,
                  Violations& violations);
// 1 s to 5 min.
void CheckHeartbeatInterval(absl::Duration interval, Violations& violations);

}  // namespace parley::message
