#include "services/chat/user_rules.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/text.h"

namespace parley::chat {
namespace {

constexpr TextLimits kNameLimits{0, 256};

}  // namespace

void CheckId(absl::string_view field, std::int64_t id, Violations& violations) {
  if (id <= 0) violations.Add(field, "must be positive");
}

void CheckIds(absl::string_view field, const std::vector<std::int64_t>& ids,
              Violations& violations) {
  if (ids.empty()) violations.Add(field, "must not be empty");
  if (ids.size() > kMaxBatch) {
    return violations.Add(field,
                          absl::StrCat("must have at most ", kMaxBatch, " ids, has ", ids.size()));
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    CheckId(absl::StrCat(field, "[", i, "]"), ids[i], violations);
  }
}

void CheckUserName(absl::string_view field, absl::string_view name, Violations& violations) {
  CheckText(field, name, kNameLimits, violations);
}

void CheckPassword(absl::string_view password, PasswordUse use, Violations& violations) {
  if (use == PasswordUse::kMustGive && password.empty()) {
    violations.Add("password", "must not be empty");
  }
  if (password.size() > kMaxPasswordBytes) {
    violations.Add("password", absl::StrCat("must have at most ", kMaxPasswordBytes, " bytes"));
  }
}

bool IsFailureLimit(const std::string& text) {
  constexpr std::int32_t kMost = 1000000;
  std::int32_t limit = 0;
  return absl::SimpleAtoi(text, &limit) && limit >= 0 && limit <= kMost;
}

}  // namespace parley::chat
