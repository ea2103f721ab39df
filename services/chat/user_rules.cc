#include "services/chat/user_rules.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/text.h"

namespace parley::chat {
namespace {

constexpr TextLimits kLoginLimits{1, 256};
constexpr TextLimits kNameLimits{0, 256};
constexpr std::size_t kMaxLoginKeyBytes = 2048;

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

std::string CheckLogin(absl::string_view field, absl::string_view login, Violations& violations) {
  CheckText(field, login, kLoginLimits, violations);
  std::string key = FoldLogin(login).value_or("");
  // Default-ignorable characters vanish when folded; a login of nothing else could not be told from
  // another one.
  if (!login.empty() && key.empty()) violations.Add(field, "must have a visible character");
  // A few characters fold to many; what is compared must fit into an index entry.
  if (key.size() > kMaxLoginKeyBytes) violations.Add(field, "is too long once normalised");
  return key;
}

std::string CheckNewLogin(absl::string_view field, absl::string_view login,
                          Violations& violations) {
  std::string key = CheckLogin(field, login, violations);
  if (absl::StartsWith(key, "erased-")) {
    violations.Add(field, "must not begin with \"erased-\"; so do the logins of erased users");
  }
  return key;
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

}  // namespace parley::chat
