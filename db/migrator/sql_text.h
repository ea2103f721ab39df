// SQL as PostgreSQL's own scanner splits it, as far as a migrator has to know: where statements
// end, and what their tokens are. No grammar, no database.
//
// Known are: -- and nested /* */ comments, 'strings' ('' inside), E'strings' (\' inside), "names",
// $tag$ bodies, and parentheses and BEGIN ATOMIC ... END bodies of functions, whose semicolons end
// no statement. standard_conforming_strings is taken to be on. A token's text is as written.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::db {

struct SqlToken {
  enum class Kind {
    kWord,    // a keyword or a name without quotes
    kName,    // "a name", with its quotes
    kString,  // '...', E'...', $$...$$, with its quotes
    kNumber,
    kSymbol,  // one byte: ( ) , ; : and operators byte by byte
  };
  Kind kind = Kind::kSymbol;
  absl::string_view text;
  std::size_t offset = 0;  // bytes from the start of the SQL
};

// Whether the token is this keyword or symbol, whatever the case; never a name in quotes.
bool Is(const SqlToken& token, absl::string_view word);

// Everything here points into the SQL that was split, which must outlive it.
struct SqlStatement {
  absl::string_view text;        // from its first token to its last, without the semicolon
  std::size_t offset = 0;        // of its first token
  std::vector<SqlToken> tokens;  // never empty; without comments and without the semicolon
};

// The statements of `sql` in order; those without a token are left out. INVALID_ARGUMENT, with
// "line:column" counted within `sql`, if a string, a name or a comment does not end.
absl::StatusOr<std::vector<SqlStatement>> SplitStatements(absl::string_view sql);

// Whether the tokens from `at` on begin with these words: Matches(s.tokens, 0, {"CREATE",
// "INDEX"}).
bool Matches(const std::vector<SqlToken>& tokens, std::size_t at,
             std::initializer_list<absl::string_view> words);

}  // namespace parley::db
