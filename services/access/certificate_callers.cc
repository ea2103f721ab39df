#include "services/access/certificate_callers.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace parley::access {
namespace {

using nlohmann::json;

// The member `name` of `entry`, a string that is not empty; `otherwise` if it is not there.
absl::StatusOr<std::string> TextMember(const json& entry, const char* name,
                                       const std::string& otherwise = "") {
  const std::string value = entry.contains(name) && entry[name].is_string()
                                ? entry[name].get<std::string>()
                                : std::string();
  if (!value.empty()) return value;
  if (entry.contains(name) || otherwise.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", name, "\" must be a text"));
  }
  return otherwise;
}

absl::StatusOr<ScopeSet> ScopesMember(const json& entry) {
  if (!entry.contains("scopes") || !entry["scopes"].is_array()) {
    return absl::InvalidArgumentError("\"scopes\" must be a list");
  }
  ScopeSet scopes;
  for (const json& word : entry["scopes"]) {
    const std::optional<Scope> scope =
        word.is_string() ? ParseScope(word.get_ref<const std::string&>()) : std::nullopt;
    // A misspelt scope would be a right that nobody has and everybody believes in.
    if (!scope) return absl::InvalidArgumentError(absl::StrCat("no such scope: ", word.dump()));
    scopes.Add(*scope);
  }
  return scopes;
}

absl::Status CheckMembers(const json& entry) {
  if (!entry.is_object()) return absl::InvalidArgumentError("must be an object");
  for (const auto& [name, value] : entry.items()) {
    if (name != "san" && name != "name" && name != "scopes") {
      return absl::InvalidArgumentError(absl::StrCat("no such member: ", json(name).dump()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CertificateCallers::SetCallers(const std::string& text) {
  const json file = json::parse(text, nullptr, false);
  if (!file.is_object() || !file.contains("callers") || !file["callers"].is_array()) {
    return absl::InvalidArgumentError("is not {\"callers\": [...]}");
  }
  auto callers = std::make_shared<BySan>();
  for (const json& entry : file["callers"]) {
    const auto read = [&]() -> absl::Status {
      PARLEY_RETURN_IF_ERROR(CheckMembers(entry));
      PARLEY_ASSIGN_OR_RETURN(const std::string san, TextMember(entry, "san"));
      auto identity = std::make_shared<Identity>();
      PARLEY_ASSIGN_OR_RETURN(identity->name, TextMember(entry, "name", san));
      PARLEY_ASSIGN_OR_RETURN(identity->scopes, ScopesMember(entry));
      if (!callers->emplace(san, std::move(identity)).second) {
        return absl::InvalidArgumentError(absl::StrCat("there twice: ", san));
      }
      return absl::OkStatus();
    }();
    if (!read.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("callers[", &entry - &file["callers"].front(), "]: ", read.message()));
    }
  }
  MutexLock lock(mutex_);
  callers_ = std::move(callers);
  return absl::OkStatus();
}

std::shared_ptr<const Identity> CertificateCallers::Find(
    const std::vector<std::string>& names) const {
  std::shared_ptr<const BySan> callers;
  {
    MutexLock lock(mutex_);
    callers = callers_;
  }
  for (const std::string& name : names) {
    const auto found = callers->find(name);
    if (found != callers->end()) return found->second;
  }
  return nullptr;
}

}  // namespace parley::access
