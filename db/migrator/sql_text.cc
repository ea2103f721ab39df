#include "db/migrator/sql_text.h"

#include <algorithm>
#include <initializer_list>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace parley::db {
namespace {

// Bytes beyond ASCII are letters to PostgreSQL.
bool IsNameStart(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return absl::ascii_isalpha(byte) || c == '_' || byte >= 0x80;
}
bool IsNamePart(char c) {
  return IsNameStart(c) || absl::ascii_isdigit(static_cast<unsigned char>(c));
}

// Cuts tokens off the front of the SQL.
class Scanner {
 public:
  explicit Scanner(absl::string_view sql) : sql_(sql) {}

  // False at the end. INVALID_ARGUMENT as SplitStatements says.
  absl::StatusOr<bool> Next(SqlToken& token) {
    if (absl::Status skipped = SkipBlanks(); !skipped.ok()) return skipped;
    if (at_ == sql_.size()) return false;
    const std::size_t start = at_;
    token.kind = KindAt();
    absl::Status status = Take(token.kind);
    if (!status.ok()) return status;
    token.offset = start;
    token.text = sql_.substr(start, at_ - start);
    return true;
  }

 private:
  bool At(absl::string_view text) const { return absl::StartsWith(sql_.substr(at_), text); }
  char Peek(std::size_t ahead) const {
    return at_ + ahead < sql_.size() ? sql_[at_ + ahead] : '\0';
  }

  absl::Status Unfinished(std::size_t start, absl::string_view what) const {
    const absl::string_view before = sql_.substr(0, start);
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const absl::string_view last_line = before.substr(before.rfind('\n') + 1);
    const auto column =
        std::count_if(last_line.begin(), last_line.end(),
                      [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }) +
        1;
    return absl::InvalidArgumentError(
        absl::StrCat(line, ":", column, ": ", what, " that does not end"));
  }

  absl::Status SkipBlanks() {
    while (at_ < sql_.size()) {
      if (absl::ascii_isspace(static_cast<unsigned char>(sql_[at_]))) {
        ++at_;
      } else if (At("--")) {
        at_ = std::min(sql_.find('\n', at_), sql_.size());
      } else if (At("/*")) {
        if (absl::Status status = SkipComment(); !status.ok()) return status;
      } else {
        break;
      }
    }
    return absl::OkStatus();
  }

  absl::Status SkipComment() {
    const std::size_t start = at_;
    int depth = 0;
    do {
      if (at_ >= sql_.size()) return Unfinished(start, "a comment");
      if (At("/*")) {
        ++depth;
        at_ += 2;
      } else if (At("*/")) {
        --depth;
        at_ += 2;
      } else {
        ++at_;
      }
    } while (depth > 0);
    return absl::OkStatus();
  }

  SqlToken::Kind KindAt() const {
    const char c = sql_[at_];
    if (c == '"') return SqlToken::Kind::kName;
    if (c == '\'' || !DollarTag().empty()) return SqlToken::Kind::kString;
    if (absl::StrContains("eEbBxXnN", c) && Peek(1) == '\'') return SqlToken::Kind::kString;
    if ((c == 'u' || c == 'U') && Peek(1) == '&') {
      if (Peek(2) == '\'') return SqlToken::Kind::kString;
      if (Peek(2) == '"') return SqlToken::Kind::kName;
    }
    if (IsNameStart(c)) return SqlToken::Kind::kWord;
    const bool is_fraction = c == '.' && absl::ascii_isdigit(static_cast<unsigned char>(Peek(1)));
    if (is_fraction || absl::ascii_isdigit(static_cast<unsigned char>(c))) {
      return SqlToken::Kind::kNumber;
    }
    return SqlToken::Kind::kSymbol;
  }

  absl::Status Take(SqlToken::Kind kind) {
    switch (kind) {
      case SqlToken::Kind::kName:
        return TakeQuoted('"');
      case SqlToken::Kind::kString:
        if (const absl::string_view tag = DollarTag(); !tag.empty()) return TakeDollars(tag);
        return TakeQuoted('\'');
      case SqlToken::Kind::kWord:
        while (at_ < sql_.size() && (IsNamePart(sql_[at_]) || sql_[at_] == '$')) ++at_;
        return absl::OkStatus();
      case SqlToken::Kind::kNumber:
        while (at_ < sql_.size() && (IsNamePart(sql_[at_]) || sql_[at_] == '.')) ++at_;
        return absl::OkStatus();
      case SqlToken::Kind::kSymbol:
        ++at_;
        return absl::OkStatus();
    }
    return absl::OkStatus();
  }

  // "$tag$" if one begins here, otherwise empty.
  absl::string_view DollarTag() const {
    if (sql_[at_] != '$') return {};
    std::size_t end = at_ + 1;
    if (end < sql_.size() && IsNameStart(sql_[end])) {
      while (end < sql_.size() && IsNamePart(sql_[end])) ++end;
    }
    const bool is_tag = end < sql_.size() && sql_[end] == '$';
    return is_tag ? sql_.substr(at_, end + 1 - at_) : absl::string_view();
  }

  absl::Status TakeDollars(absl::string_view tag) {
    const std::size_t end = sql_.find(tag, at_ + tag.size());
    if (end == absl::string_view::npos) return Unfinished(at_, absl::StrCat("a ", tag, " body"));
    at_ = end + tag.size();
    return absl::OkStatus();
  }

  absl::Status TakeQuoted(char quote) {
    const std::size_t start = at_;
    const bool has_escapes = sql_[at_] == 'e' || sql_[at_] == 'E';
    at_ = sql_.find(quote, at_) + 1;
    while (at_ < sql_.size()) {
      const bool is_escape = has_escapes && sql_[at_] == '\\';
      const bool is_quote = sql_[at_] == quote;
      if (is_escape || (is_quote && Peek(1) == quote)) {
        at_ += 2;
        continue;
      }
      ++at_;
      if (is_quote) return absl::OkStatus();
    }
    at_ = sql_.size();
    return Unfinished(start, quote == '"' ? "a name" : "a string");
  }

  absl::string_view sql_;
  std::size_t at_ = 0;
};

// Follows what semicolons end no statement within: parentheses, as of CREATE RULE ... DO (a; b),
// and BEGIN ATOMIC ... END of a function, in which CASE ... END may stand.
class Nesting {
 public:
  void See(const std::vector<SqlToken>& tokens) {
    const SqlToken& last = tokens.back();
    if (Is(last, "(")) ++parentheses_;
    if (Is(last, ")")) --parentheses_;
    if (blocks_ == 0) {
      const bool begins =
          tokens.size() >= 2 && Is(last, "ATOMIC") && Is(tokens[tokens.size() - 2], "BEGIN");
      if (begins) blocks_ = 1;
    } else if (tokens.size() >= 2 && Is(tokens[tokens.size() - 2], ".")) {
      // A column may have the name.
    } else if (Is(last, "CASE")) {
      ++blocks_;
    } else if (Is(last, "END")) {
      --blocks_;
    }
  }
  bool IsInside() const { return parentheses_ > 0 || blocks_ > 0; }

 private:
  int parentheses_ = 0;
  int blocks_ = 0;
};

}  // namespace

bool Is(const SqlToken& token, absl::string_view word) {
  return (token.kind == SqlToken::Kind::kWord || token.kind == SqlToken::Kind::kSymbol) &&
         absl::EqualsIgnoreCase(token.text, word);
}

bool Matches(const std::vector<SqlToken>& tokens, std::size_t at,
             std::initializer_list<absl::string_view> words) {
  if (at > tokens.size() || tokens.size() - at < words.size()) return false;
  return std::equal(words.begin(), words.end(), tokens.begin() + static_cast<std::ptrdiff_t>(at),
                    [](absl::string_view word, const SqlToken& token) { return Is(token, word); });
}

absl::StatusOr<std::vector<SqlStatement>> SplitStatements(absl::string_view sql) {
  std::vector<SqlStatement> statements;
  SqlStatement current;
  Nesting nesting;
  const auto finish = [&] {
    if (!current.tokens.empty()) {
      const SqlToken& last = current.tokens.back();
      current.offset = current.tokens.front().offset;
      current.text = sql.substr(current.offset, last.offset + last.text.size() - current.offset);
      statements.push_back(std::move(current));
    }
    current = {};
    nesting = {};
  };
  Scanner scanner(sql);
  SqlToken token;
  while (true) {
    absl::StatusOr<bool> more = scanner.Next(token);
    if (!more.ok()) return more.status();
    if (!*more) break;
    if (Is(token, ";") && !nesting.IsInside()) {
      finish();
      continue;
    }
    current.tokens.push_back(token);
    nesting.See(current.tokens);
  }
  finish();
  return statements;
}

}  // namespace parley::db
