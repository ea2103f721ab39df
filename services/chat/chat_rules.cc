#include "services/chat/chat_rules.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "services/chat/user_rules.h"

namespace parley::chat {
namespace {

constexpr TextLimits kTitleLimits{1, 256};
constexpr TextLimits kDescriptionLimits{0, 512};
constexpr absl::Duration kMinRetention = absl::Minutes(1);
constexpr absl::Duration kMaxRetention = absl::Hours(24 * 36'525);

}  // namespace

void CheckTitle(absl::string_view field, absl::string_view title, Violations& violations) {
  CheckText(field, title, kTitleLimits, violations);
}

void CheckDescription(absl::string_view field, absl::string_view description,
                      Violations& violations) {
  CheckText(field, description, kDescriptionLimits, violations);
}

void CheckRetention(absl::string_view field, absl::Duration retention, Violations& violations) {
  if (retention < kMinRetention || retention > kMaxRetention) {
    violations.Add(field, "must be between 1 minute and 36525 days");
  }
}

std::vector<std::int64_t> FirstMembers(std::int64_t creator_user_id,
                                       const std::vector<std::int64_t>& user_ids,
                                       Violations& violations) {
  if (user_ids.size() > kMaxFirstMembers) {
    violations.Add("user_ids", absl::StrCat("must have at most ", kMaxFirstMembers, " ids, has ",
                                            user_ids.size()));
    return {};
  }
  for (std::size_t i = 0; i < user_ids.size(); ++i) {
    CheckId(absl::StrCat("user_ids[", i, "]"), user_ids[i], violations);
  }
  std::vector<std::int64_t> members = user_ids;
  members.push_back(creator_user_id);
  std::sort(members.begin(), members.end());
  members.erase(std::unique(members.begin(), members.end()), members.end());
  return members;
}

}  // namespace parley::chat
