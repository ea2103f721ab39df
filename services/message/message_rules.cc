#include "services/message/message_rules.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/text.h"

namespace parley::message {
namespace {

constexpr TextLimits kMessageTextLimits{1, 1024};
constexpr std::size_t kMaxBatchGet = 100;
constexpr TextLimits kSearchQueryLimits{1, 1024};
constexpr std::size_t kMaxLanguageSize = 63;  // of any name in PostgreSQL
constexpr std::size_t kMaxChatIds = 1000;
constexpr absl::Duration kMinHeartbeat = absl::Seconds(1);
constexpr absl::Duration kMaxHeartbeat = absl::Minutes(5);

}  // namespace

void CheckId(absl::string_view field, std::int64_t id, Violations& violations) {
  if (id <= 0) violations.Add(field, "must be positive");
}

void CheckIds(absl::string_view field, const std::vector<std::int64_t>& ids, std::size_t max,
              Violations& violations) {
  if (ids.size() > max) violations.Add(field, absl::StrCat("must be at most ", max));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] <= 0) violations.Add(absl::StrCat(field, "[", i, "]"), "must be positive");
  }
}

void CheckReplyTo(absl::string_view field, std::int64_t seq, Violations& violations) {
  if (seq < 0) violations.Add(field, "must not be negative");
}

void CheckBatchGet(const std::vector<std::int64_t>& message_ids, std::int64_t chat_id,
                   const std::vector<std::int64_t>& seqs, Violations& violations) {
  if (message_ids.empty() && chat_id == 0 && seqs.empty()) {
    return violations.Add("message_ids", "either message_ids or chat_id and seqs must be set");
  }
  CheckIds("message_ids", message_ids, kMaxBatchGet, violations);
  CheckIds("seqs", seqs, kMaxBatchGet, violations);
  if (!message_ids.empty()) {
    if (chat_id != 0) violations.Add("chat_id", "must be 0 when message_ids is set");
    if (!seqs.empty()) violations.Add("seqs", "must be empty when message_ids is set");
    return;
  }
  CheckId("chat_id", chat_id, violations);
  if (seqs.empty()) violations.Add("seqs", "must not be empty");
}

void CheckMessageText(absl::string_view field, absl::string_view text, Violations& violations) {
  CheckText(field, text, kMessageTextLimits, violations);
}

void CheckSearchQuery(absl::string_view field, absl::string_view query, Violations& violations) {
  CheckText(field, query, kSearchQueryLimits, violations);
}

bool IsSearchLanguage(absl::string_view name) {
  return !name.empty() && name.size() <= kMaxLanguageSize &&
         !absl::ascii_isdigit(static_cast<unsigned char>(name.front())) &&
         std::all_of(name.begin(), name.end(), [](char c) {
           const auto byte = static_cast<unsigned char>(c);
           return absl::ascii_islower(byte) || absl::ascii_isdigit(byte) || c == '_';
         });
}

void CheckKey(const MessageKey& key, const KeyFields& fields, Violations& violations) {
  if (key.id == 0 && key.chat_id == 0 && key.seq == 0) {
    return violations.Add(fields.id, absl::StrCat("either ", fields.id, " or ", fields.chat_id,
                                                  " and ", fields.seq, " must be set"));
  }
  if (key.id != 0) {
    CheckId(fields.id, key.id, violations);
    if (key.chat_id != 0) violations.Add(fields.chat_id, "must be 0 when the id is set");
    if (key.seq != 0) violations.Add(fields.seq, "must be 0 when the id is set");
    return;
  }
  CheckId(fields.chat_id, key.chat_id, violations);
  CheckId(fields.seq, key.seq, violations);
}

void CheckWatched(const std::vector<std::int64_t>& chat_ids, std::int64_t user_id,
                  Violations& violations) {
  if (chat_ids.empty() && user_id == 0) {
    return violations.Add("chat_ids", "either chat_ids or user_id must be set");
  }
  if (!chat_ids.empty() && user_id != 0) {
    violations.Add("user_id", "must be 0 when chat_ids is set");
  } else if (chat_ids.empty()) {
    CheckId("user_id", user_id, violations);
  }
  if (chat_ids.size() > kMaxChatIds) {
    return violations.Add("chat_ids", absl::StrCat("must have at most ", kMaxChatIds, " ids"));
  }
  for (std::size_t i = 0; i < chat_ids.size(); ++i) {
    CheckId(absl::StrCat("chat_ids[", i, "]"), chat_ids[i], violations);
  }
}

void CheckHeartbeatInterval(absl::Duration interval, Violations& violations) {
  if (interval < kMinHeartbeat || interval > kMaxHeartbeat) {
    violations.Add("heartbeat_interval", "must be from 1 s to 5 min");
  }
}

}  // namespace parley::message
