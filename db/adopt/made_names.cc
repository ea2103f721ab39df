#include "db/adopt/made_names.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "db/migrator/sql_text.h"

namespace parley::adopt {
namespace {

using db::Is;
using db::Matches;
using db::SqlToken;

bool IsOneOf(const SqlToken& token, std::initializer_list<absl::string_view> words) {
  for (const absl::string_view word : words) {
    if (Is(token, word)) return true;
  }
  return false;
}

// The name that a statement makes; empty if it makes neither a relation nor a function.
std::string NameMadeBy(const std::vector<SqlToken>& tokens) {
  if (!Is(tokens.front(), "CREATE")) return "";
  std::size_t at = 1;
  while (at < tokens.size() && IsOneOf(tokens[at], {"OR", "REPLACE", "UNIQUE", "UNLOGGED",
                                                    "MATERIALIZED", "RECURSIVE"})) {
    ++at;
  }
  if (at == tokens.size() ||
      !IsOneOf(tokens[at], {"TABLE", "INDEX", "SEQUENCE", "VIEW", "FUNCTION"})) {
    return "";
  }
  const absl::string_view end = Is(tokens[at], "FUNCTION") ? "()" : "";
  ++at;
  if (at < tokens.size() && Is(tokens[at], "CONCURRENTLY")) ++at;
  if (Matches(tokens, at, {"IF", "NOT", "EXISTS"})) at += 3;
  if (Matches(tokens, at, {"public", "."})) at += 2;
  if (at == tokens.size() || Is(tokens[at], "ON")) return "";  // an index without a name
  absl::string_view name = tokens[at].text;
  if (tokens[at].kind == SqlToken::Kind::kWord) {
    return absl::StrCat(absl::AsciiStrToLower(name), end);
  }
  absl::ConsumePrefix(&name, "\"");
  absl::ConsumeSuffix(&name, "\"");
  return absl::StrCat(name, end);
}

}  // namespace

absl::StatusOr<std::set<std::string>> NamesMadeBy(const db::MigrationSet& set) {
  std::set<std::string> names = {"schema_migrations", "schema_migration_log"};
  for (const db::Migration& migration : set.migrations()) {
    PARLEY_ASSIGN_OR_RETURN(const std::vector<db::SqlStatement> statements,
                            db::SplitStatements(migration.up.sql));
    for (const db::SqlStatement& statement : statements) {
      std::string name = NameMadeBy(statement.tokens);
      if (!name.empty()) names.insert(std::move(name));
    }
  }
  return names;
}

bool IsImplied(absl::string_view name, const std::set<std::string>& names) {
  for (const std::string& table : names) {
    absl::string_view rest = name;
    if (!absl::ConsumePrefix(&rest, table) || !absl::StartsWith(rest, "_")) continue;
    if (rest == "_pkey") return true;
    for (const absl::string_view end : {"_seq", "_key", "_fkey", "_check"}) {
      if (absl::EndsWith(rest, end)) return true;
    }
  }
  return false;
}

}  // namespace parley::adopt
