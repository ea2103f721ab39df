#include "services/message/message_rules.h"

#include "absl/strings/str_cat.h"
#include "base/text.h"

namespace parley::message {
namespace {

constexpr TextLimits kMessageTextLimits{1, 1024};

}  // namespace

void CheckId(absl::string_view field, std::int64_t id, Violations& violations) {
  if (id <= 0) violations.Add(field, "must be positive");
}

void CheckMessageText(absl::string_view field, absl::string_view text, Violations& violations) {
  CheckText(field, text, kMessageTextLimits, violations);
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

}  // namespace parley::message
