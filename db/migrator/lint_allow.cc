#include "db/migrator/lint_allow.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "db/migrator/lint.h"

namespace parley::db {
namespace {

// The text behind "--", for a line that is a comment.
bool TakeComment(absl::string_view& line) {
  line = absl::StripAsciiWhitespace(line);
  if (!absl::ConsumePrefix(&line, "--")) return false;
  line = absl::StripAsciiWhitespace(line);
  return true;
}

// Whether something begins here that can break a rule: a statement or a section.
bool IsTarget(absl::string_view line) {
  if (!TakeComment(line)) return !line.empty();
  return absl::StartsWith(line, "migrate:");
}

bool IsRule(absl::string_view name) {
  const std::span<const LintRule> rules = LintRules();
  return std::any_of(rules.begin(), rules.end(),
                     [name](const LintRule& rule) { return rule.name == name; });
}

}  // namespace

Allowances::Allowances(std::span<const absl::string_view> lines, const Migration& migration) {
  for (std::size_t at = 0; at < lines.size(); ++at) {
    absl::string_view text = lines[at];
    if (!TakeComment(text) || !absl::ConsumePrefix(&text, "parley:")) continue;
    const auto line = static_cast<std::int32_t>(at + 1);
    const bool is_above = line < migration.up.line;
    // The migrator has read these, and nothing else of the kind.
    if (is_above && absl::StartsWith(text, "phase")) continue;
    Allowance allowance = Parse(text);
    allowance.line = line;
    if (!is_above) {
      std::size_t target = at + 1;
      while (target < lines.size() && !IsTarget(lines[target])) ++target;
      allowance.target = static_cast<std::int32_t>(target + 1);
    }
    allowances_.push_back(std::move(allowance));
  }
}

Allowances::Allowance Allowances::Parse(absl::string_view text) {
  Allowance allowance;
  const absl::string_view whole = text;
  if (!absl::ConsumePrefix(&text, "allow ")) {
    allowance.fault = absl::StrCat("\"-- parley:", whole,
                                   "\" is not known: only \"-- parley:phase\" and \"-- "
                                   "parley:allow\" are");
    return allowance;
  }
  text = absl::StripAsciiWhitespace(text);
  const std::size_t end = std::min(text.find(' '), text.size());
  allowance.rule = std::string(text.substr(0, end));
  text = absl::StripAsciiWhitespace(text.substr(end));
  if (!IsRule(allowance.rule)) {
    allowance.fault = absl::StrCat("there is no rule \"", allowance.rule,
                                   "\"; `parley-migrate lint --rules` lists them");
  } else if (!absl::ConsumePrefix(&text, "because ")) {
    allowance.fault = absl::StrCat("say why: \"-- parley:allow ", allowance.rule, " because ...\"");
  }
  return allowance;
}

bool Allowances::Allow(absl::string_view rule, std::int32_t line) {
  bool is_allowed = false;
  for (Allowance& allowance : allowances_) {
    const bool is_meant = allowance.fault.empty() && allowance.rule == rule &&
                          (allowance.target == 0 || allowance.target == line);
    if (!is_meant) continue;
    allowance.is_used = true;
    is_allowed = true;
  }
  return is_allowed;
}

void Allowances::ReportFaults(const std::function<void(const LineFinding&)>& report) const {
  for (const Allowance& allowance : allowances_) {
    if (!allowance.fault.empty()) {
      report({allowance.line, "parley-comment", allowance.fault});
    } else if (!allowance.is_used) {
      report(
          {allowance.line, "parley-comment",
           absl::StrCat("nothing here breaks ", allowance.rule,
                        "; take the comment away, or put it right above the statement that does")});
    }
  }
}

}  // namespace parley::db
