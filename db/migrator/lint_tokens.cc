#include "db/migrator/lint_tokens.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace parley::db {
namespace {

bool IsNameToken(const SqlToken& token) {
  return token.kind == SqlToken::Kind::kWord || token.kind == SqlToken::Kind::kName;
}

std::string NamePart(const SqlToken& token) {
  if (token.kind == SqlToken::Kind::kWord) return absl::AsciiStrToLower(token.text);
  absl::string_view text = token.text;
  absl::ConsumePrefix(&text, "\"");
  absl::ConsumeSuffix(&text, "\"");
  return absl::StrReplaceAll(text, {{"\"\"", "\""}});
}

// Keeps count of parentheses.
class Depth {
 public:
  // Whether `token` stands outside all parentheses; a parenthesis itself does not.
  bool IsOutside(const SqlToken& token) {
    if (Is(token, "(") || Is(token, "[")) {
      ++depth_;
      return false;
    }
    if (Is(token, ")") || Is(token, "]")) {
      --depth_;
      return false;
    }
    return depth_ == 0;
  }

 private:
  std::int32_t depth_ = 0;
};

constexpr Words kConstraintWords = {"CONSTRAINT", "CHECK",   "UNIQUE", "PRIMARY",
                                    "FOREIGN",    "EXCLUDE", "LIKE"};

}  // namespace

bool IsOneOf(const SqlToken& token, Words words) {
  return std::any_of(words.begin(), words.end(),
                     [&token](absl::string_view word) { return Is(token, word); });
}

bool Begins(Tokens tokens, Words words) {
  return tokens.size() >= words.size() &&
         std::equal(words.begin(), words.end(), tokens.begin(),
                    [](absl::string_view word, const SqlToken& token) { return Is(token, word); });
}

bool Take(Tokens& tokens, Words words) {
  if (!Begins(tokens, words)) return false;
  tokens = tokens.subspan(words.size());
  return true;
}

std::optional<Tokens> Find(Tokens tokens, Words words) {
  Depth depth;
  for (std::size_t at = 0; at < tokens.size(); ++at) {
    if (depth.IsOutside(tokens[at]) && Begins(tokens.subspan(at), words)) {
      return tokens.subspan(at);
    }
  }
  return std::nullopt;
}

std::string TakeName(Tokens& tokens) {
  std::string name;
  while (!tokens.empty() && IsNameToken(tokens.front())) {
    absl::StrAppend(&name, NamePart(tokens.front()));
    tokens = tokens.subspan(1);
    if (!Take(tokens, {"."})) break;
    name.push_back('.');
  }
  absl::string_view rest = name;
  absl::ConsumePrefix(&rest, "public.");
  return std::string(rest);
}

std::vector<Tokens> SplitAtCommas(Tokens tokens) {
  std::vector<Tokens> parts;
  Depth depth;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < tokens.size(); ++at) {
    if (!depth.IsOutside(tokens[at]) || !Is(tokens[at], ",")) continue;
    if (at > begin) parts.push_back(tokens.subspan(begin, at - begin));
    begin = at + 1;
  }
  if (begin < tokens.size()) parts.push_back(tokens.subspan(begin));
  return parts;
}

Tokens Parenthesized(Tokens tokens) {
  if (!Begins(tokens, {"("})) return {};
  std::int32_t depth = 0;
  for (std::size_t at = 0; at < tokens.size(); ++at) {
    if (Is(tokens[at], "(")) ++depth;
    if (Is(tokens[at], ")") && --depth == 0) return tokens.subspan(1, at - 1);
  }
  return tokens.subspan(1);
}

void SkipParenthesized(Tokens& tokens) {
  if (!Begins(tokens, {"("})) return;
  tokens = tokens.subspan(std::min(Parenthesized(tokens).size() + 2, tokens.size()));
}

std::optional<CreatedTable> ParseCreateTable(Tokens statement) {
  Tokens rest = statement;
  if (Begins(rest, {"SELECT"})) {
    const std::optional<Tokens> into = Find(rest, {"INTO"});
    if (!into) return std::nullopt;
    rest = into->subspan(1);
    while (!rest.empty() && IsOneOf(rest.front(), {"TEMPORARY", "TEMP", "UNLOGGED", "TABLE"})) {
      rest = rest.subspan(1);
    }
    return CreatedTable{.table = TakeName(rest), .elements = {}};
  }
  if (!Take(rest, {"CREATE"})) return std::nullopt;
  while (!rest.empty() &&
         IsOneOf(rest.front(), {"GLOBAL", "LOCAL", "TEMPORARY", "TEMP", "UNLOGGED", "FOREIGN"})) {
    rest = rest.subspan(1);
  }
  if (!Take(rest, {"TABLE"}) && !Take(rest, {"MATERIALIZED", "VIEW"})) return std::nullopt;
  Take(rest, {"IF", "NOT", "EXISTS"});
  CreatedTable created;
  created.table = TakeName(rest);
  created.elements = SplitAtCommas(Parenthesized(rest));
  return created;
}

std::optional<AlteredTable> ParseAlterTable(Tokens statement) {
  Tokens rest = statement;
  if (!Take(rest, {"ALTER", "TABLE"})) return std::nullopt;
  Take(rest, {"IF", "EXISTS"});
  Take(rest, {"ONLY"});
  AlteredTable altered;
  altered.table = TakeName(rest);
  Take(rest, {"*"});
  altered.actions = SplitAtCommas(rest);
  return altered;
}

std::optional<ColumnDefinition> ParseColumn(Tokens definition) {
  if (definition.size() < 2 || !IsNameToken(definition.front()) ||
      IsOneOf(definition.front(), kConstraintWords)) {
    return std::nullopt;
  }
  return ColumnDefinition{.name = NamePart(definition.front()), .type = definition.subspan(1)};
}

std::optional<ColumnDefinition> ParseAddedColumn(Tokens action) {
  if (!Take(action, {"ADD"})) return std::nullopt;
  Take(action, {"COLUMN"});
  Take(action, {"IF", "NOT", "EXISTS"});
  return ParseColumn(action);
}

}  // namespace parley::db
