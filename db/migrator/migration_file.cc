#include "db/migrator/migration_file.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/fingerprint.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "db/migrator/problem.h"
#include "db/migrator/sql_text.h"

namespace parley::db {
namespace {

constexpr std::size_t kVersionDigits = 14;
constexpr absl::string_view kNoTransaction = "transaction:false";

// Whether 14 digits can be a moment. Days are not checked against their month.
bool IsTimestamp(absl::string_view digits) {
  const auto in_range = [digits](std::size_t at, int low, int high) {
    int value = 0;
    return absl::SimpleAtoi(digits.substr(at, 2), &value) && value >= low && value <= high;
  };
  return digits.size() == kVersionDigits &&
         std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit) && in_range(4, 1, 12) &&
         in_range(6, 1, 31) && in_range(8, 0, 23) && in_range(10, 0, 59) && in_range(12, 0, 59);
}

absl::Status ParseFileName(Migration& migration) {
  absl::string_view rest = migration.file_name;
  const absl::string_view version = rest.substr(0, kVersionDigits);
  rest.remove_prefix(version.size());
  const bool has_form = absl::ConsumeSuffix(&rest, ".sql") && absl::ConsumePrefix(&rest, "_");
  if (!has_form || !IsMigrationName(rest) || !IsTimestamp(version)) {
    return FileError(migration.file_name, 1,
                     "the file's name must be YYYYMMDDHHMMSS_name.sql, with letters, digits and "
                     "underscores in the name");
  }
  migration.version = std::string(version);
  migration.name = std::string(rest);
  return absl::OkStatus();
}

bool IsBlankOrComment(absl::string_view line) {
  const absl::string_view text = absl::StripAsciiWhitespace(line);
  return text.empty() || absl::StartsWith(text, "--");
}

// What follows "-- PREFIX" in a line that begins so.
std::optional<absl::string_view> CommentOf(absl::string_view line, absl::string_view prefix) {
  absl::string_view text = absl::StripAsciiWhitespace(line);
  if (!absl::ConsumePrefix(&text, "--")) return std::nullopt;
  text = absl::StripLeadingAsciiWhitespace(text);
  if (!absl::ConsumePrefix(&text, prefix)) return std::nullopt;
  return text;
}

// Whether it begins or ends a transaction. ROLLBACK TO a savepoint does neither.
bool EndsTransaction(const SqlStatement& statement) {
  const std::vector<SqlToken>& tokens = statement.tokens;
  if (Is(tokens[0], "ROLLBACK")) {
    return std::none_of(tokens.begin(), tokens.end(),
                        [](const SqlToken& token) { return Is(token, "TO"); });
  }
  return Matches(tokens, 0, {"PREPARE", "TRANSACTION"}) ||
         Matches(tokens, 0, {"START", "TRANSACTION"}) || Is(tokens[0], "BEGIN") ||
         Is(tokens[0], "COMMIT") || Is(tokens[0], "END") || Is(tokens[0], "ABORT");
}

// Reads the lines of one file, one after the other.
class SectionReader {
 public:
  explicit SectionReader(Migration& migration) : migration_(migration) {}

  absl::Status Read(absl::string_view line) {
    ++line_;
    if (const auto marker = CommentOf(line, "migrate:")) return ReadMarker(*marker);
    const auto phase = CommentOf(line, "parley:phase");
    if (section_ != nullptr) {
      if (phase.has_value())
        return Fail(line_, "\"-- parley:phase\" stands before \"-- migrate:up\"");
      absl::StrAppend(&section_->sql, line, "\n");
      return absl::OkStatus();
    }
    if (phase.has_value()) return ReadPhase(*phase);
    if (IsBlankOrComment(line)) return absl::OkStatus();
    return Fail(line_, "only comments may come before \"-- migrate:up\"");
  }

  absl::Status Finish() {
    const Section& up = migration_.up;
    if (up.line == 0) return Fail(line_, "there is no \"-- migrate:up\" section");
    if (migration_.down.line == 0) {
      return Fail(line_,
                  "there is no \"-- migrate:down\" section; if the change cannot be undone, add an "
                  "empty one");
    }
    PARLEY_RETURN_IF_ERROR(CheckStatements(migration_.up));
    PARLEY_RETURN_IF_ERROR(CheckStatements(migration_.down));
    if (up.is_empty) return Fail(up.line - 1, "the \"-- migrate:up\" section is empty");
    return absl::OkStatus();
  }

 private:
  absl::Status ReadMarker(absl::string_view marker) {
    const std::vector<absl::string_view> words =
        absl::StrSplit(marker, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    const bool has_option = words.size() == 2 && words[1] == kNoTransaction;
    const bool is_known = !words.empty() && (words[0] == "up" || words[0] == "down");
    if (!is_known || (words.size() > 1 && !has_option)) {
      return Fail(line_, absl::StrCat("\"-- migrate:", marker,
                                      "\" is not known: only \"-- migrate:up\" and "
                                      "\"-- migrate:down\" are, with nothing or \"",
                                      kNoTransaction, "\" after them"));
    }
    const bool is_up = words[0] == "up";
    section_ = is_up ? &migration_.up : &migration_.down;
    if (section_->line > 0)
      return Fail(line_, absl::StrCat("a second \"-- migrate:", words[0], "\""));
    if (!is_up && migration_.up.line == 0) {
      return Fail(line_, "\"-- migrate:down\" before \"-- migrate:up\"");
    }
    section_->line = line_ + 1;
    section_->is_transactional = !has_option;
    return absl::OkStatus();
  }

  absl::Status ReadPhase(absl::string_view text) {
    const absl::string_view name = absl::StripAsciiWhitespace(text);
    if (migration_.phase != Phase::kNone) return Fail(line_, "a second \"-- parley:phase\"");
    for (const Phase phase : {Phase::kExpand, Phase::kContract}) {
      if (name == PhaseName(phase)) migration_.phase = phase;
    }
    if (migration_.phase != Phase::kNone) return absl::OkStatus();
    return Fail(line_, absl::StrCat("\"-- parley:phase ", name,
                                    "\" is not known: a phase is expand or contract"));
  }

  absl::Status CheckStatements(Section& section) const {
    const absl::StatusOr<std::vector<SqlStatement>> statements = SplitStatements(section.sql);
    if (!statements.ok()) {
      // "line:column: what", counted within the section.
      const absl::string_view text = statements.status().message();
      const std::size_t colon = text.find(':');
      std::int32_t line = 0;
      if (!absl::SimpleAtoi(text.substr(0, colon), &line)) return statements.status();
      line += section.line - 1;
      ErrorPlace place = {.file = migration_.file_name, .line = line};
      const absl::string_view rest = text.substr(colon + 1);
      if (!absl::SimpleAtoi(rest.substr(0, rest.find(':')), &place.column)) place.column = 0;
      return WithPlace(absl::InvalidArgumentError(
                           absl::StrCat(migration_.file_name, ":", line, text.substr(colon))),
                       place);
    }
    section.is_empty = statements->empty();
    for (const SqlStatement& statement : *statements) {
      if (!EndsTransaction(statement)) continue;
      return Fail(
          LineOf(section, statement),
          absl::StrCat(absl::AsciiStrToUpper(statement.tokens[0].text),
                       ": the file runs in a transaction of the migrator's, and does not begin "
                       "or end any"));
    }
    if (section.is_transactional || statements->size() <= 1) return absl::OkStatus();
    return Fail(LineOf(section, (*statements)[1]),
                absl::StrCat("a second statement; a section with ", kNoTransaction,
                             " has one only, for nothing undoes the first if the second fails"));
  }

  static std::int32_t LineOf(const Section& section, const SqlStatement& statement) {
    const std::string before = section.sql.substr(0, statement.offset);
    return section.line + static_cast<std::int32_t>(std::count(before.begin(), before.end(), '\n'));
  }

  absl::Status Fail(std::int32_t line, absl::string_view message) const {
    return FileError(migration_.file_name, line, message);
  }

  Migration& migration_;
  Section* section_ = nullptr;  // that is being read
  std::int32_t line_ = 0;       // of what was read last
};

std::string NormalizeText(absl::string_view text) {
  absl::ConsumePrefix(&text, "\xEF\xBB\xBF");
  return absl::StrReplaceAll(text, {{"\r\n", "\n"}});
}

std::string ChecksumOf(absl::string_view normalized) {
  std::string text;
  for (const absl::string_view line : absl::StrSplit(normalized, '\n')) {
    absl::StrAppend(&text, absl::StripTrailingAsciiWhitespace(line), "\n");
  }
  return Fingerprint({absl::StripTrailingAsciiWhitespace(text)});
}

}  // namespace

absl::string_view PhaseName(Phase phase) {
  switch (phase) {
    case Phase::kNone:
      return "";
    case Phase::kExpand:
      return "expand";
    case Phase::kContract:
      return "contract";
  }
  return "";
}

bool IsMigrationName(absl::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
  });
}

absl::Status FileError(absl::string_view file_name, std::int32_t line, absl::string_view message) {
  return WithPlace(absl::InvalidArgumentError(absl::StrCat(file_name, ":", line, ": ", message)),
                   {.file = std::string(file_name), .line = line});
}

absl::StatusOr<Migration> ParseMigration(const MigrationFile& file) {
  Migration migration;
  migration.file_name = file.file_name;
  PARLEY_RETURN_IF_ERROR(ParseFileName(migration));
  const std::string text = NormalizeText(file.text);
  SectionReader reader(migration);
  std::int32_t line_number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    if (absl::StrContains(line, '\0') || !CountCodePoints(line)) {
      return FileError(file.file_name, line_number, "the line is not UTF-8 text");
    }
    PARLEY_RETURN_IF_ERROR(reader.Read(line));
  }
  PARLEY_RETURN_IF_ERROR(reader.Finish());
  migration.checksum = ChecksumOf(text);
  return migration;
}

FilePosition LocateInFile(const Section& section, std::int32_t position) {
  FilePosition found{.line = section.line, .column = 1};
  std::int32_t current = 0;
  for (const char c : section.sql) {
    const bool is_continuation = (static_cast<unsigned char>(c) & 0xC0) == 0x80;
    if (is_continuation) continue;
    if (++current >= position) break;
    if (c == '\n') {
      ++found.line;
      found.column = 1;
    } else {
      ++found.column;
    }
  }
  return found;
}

}  // namespace parley::db
