#include "services/access/scope.h"

#include <array>

#include "absl/strings/str_cat.h"

namespace parley::access {
namespace {

// In the order of the enum.
constexpr std::array<absl::string_view, kScopeCount> kScopeNames = {
    "chat.read",    "chat.write", "message.read", "message.write",
    "task.produce", "task.work",  "admin"};

}  // namespace

absl::string_view ScopeName(Scope scope) { return kScopeNames.at(static_cast<std::size_t>(scope)); }

std::optional<Scope> ParseScope(absl::string_view name) {
  for (std::size_t i = 0; i < kScopeNames.size(); ++i) {
    if (kScopeNames.at(i) == name) return static_cast<Scope>(i);
  }
  return std::nullopt;
}

std::string ToString(ScopeSet scopes) {
  std::string text;
  for (int i = 0; i < kScopeCount; ++i) {
    const auto scope = static_cast<Scope>(i);
    if (!scopes.Contains(scope)) continue;
    absl::StrAppend(&text, text.empty() ? "" : " or ", ScopeName(scope));
  }
  return text;
}

}  // namespace parley::access
