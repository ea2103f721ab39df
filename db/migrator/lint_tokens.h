// How the rules of lint.h look at a statement: as stretches of tokens. Everything here points into
// the SQL that was split.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "db/migrator/sql_text.h"

namespace parley::db {

using Tokens = std::span<const SqlToken>;
using Words = std::initializer_list<absl::string_view>;

bool IsOneOf(const SqlToken& token, Words words);

// Whether `tokens` begin with these words.
bool Begins(Tokens tokens, Words words);

// Takes these words from the beginning of `tokens`, if they are there.
bool Take(Tokens& tokens, Words words);

// What follows the first place outside parentheses at which these words stand; with the words
// themselves.
std::optional<Tokens> Find(Tokens tokens, Words words);
inline bool Has(Tokens tokens, Words words) { return Find(tokens, words).has_value(); }

// Takes a name with its schema from the beginning: in lower case unless in quotes, without
// "public.". Empty if there is none.
std::string TakeName(Tokens& tokens);

// The parts between commas outside parentheses.
std::vector<Tokens> SplitAtCommas(Tokens tokens);

// What is within the parentheses that `tokens` begin with; empty if they do not.
Tokens Parenthesized(Tokens tokens);
// Takes the parentheses with all that is within from the beginning, if they are there.
void SkipParenthesized(Tokens& tokens);

// CREATE TABLE, and what creates one in other ways.
struct CreatedTable {
  std::string table;
  std::vector<Tokens> elements;  // columns and constraints, if they are listed
};
std::optional<CreatedTable> ParseCreateTable(Tokens statement);

struct AlteredTable {
  std::string table;
  std::vector<Tokens> actions;  // never empty ones
};
std::optional<AlteredTable> ParseAlterTable(Tokens statement);

// A column as CREATE TABLE and ADD COLUMN define it, `definition` being all of it. Not for
// constraints (nullopt).
struct ColumnDefinition {
  std::string name;
  Tokens type;  // and all that follows it
};
std::optional<ColumnDefinition> ParseColumn(Tokens definition);

// The column that an action of ALTER TABLE adds.
std::optional<ColumnDefinition> ParseAddedColumn(Tokens action);

}  // namespace parley::db
