#include "base/login.h"

#include "absl/strings/match.h"
#include "base/text.h"

namespace parley {
namespace {

constexpr TextLimits kLoginLimits{1, 256};
constexpr std::size_t kMaxLoginKeyBytes = 2048;

}  // namespace

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

}  // namespace parley
