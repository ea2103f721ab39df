#include "db/migrator/migration_set.h"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <system_error>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "db/migrator/embedded.h"

namespace parley::db {
namespace {

constexpr std::size_t kVersionDigits = 14;

absl::Status FileError(absl::string_view file_name, std::int32_t line, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat(file_name, ":", line, ": ", message));
}

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
  const bool has_name = !rest.empty() && std::all_of(rest.begin(), rest.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
  });
  if (!has_form || !has_name || !IsTimestamp(version)) {
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

// What follows "-- migrate:" in a marker line.
std::optional<absl::string_view> MarkerOf(absl::string_view line) {
  absl::string_view text = absl::StripAsciiWhitespace(line);
  if (!absl::ConsumePrefix(&text, "--")) return std::nullopt;
  text = absl::StripLeadingAsciiWhitespace(text);
  if (!absl::ConsumePrefix(&text, "migrate:")) return std::nullopt;
  return text;
}

// Reads the lines of one file, one after the other.
class SectionReader {
 public:
  explicit SectionReader(Migration& migration) : migration_(migration) {}

  absl::Status Read(absl::string_view line) {
    ++line_;
    if (const std::optional<absl::string_view> marker = MarkerOf(line)) return ReadMarker(*marker);
    if (down_line_ > 0) return absl::OkStatus();
    if (up_line_ > 0) {
      absl::StrAppend(&migration_.up, line, "\n");
      has_statement_ = has_statement_ || !IsBlankOrComment(line);
    } else if (!IsBlankOrComment(line)) {
      return Fail(line_, "only comments may come before \"-- migrate:up\"");
    }
    return absl::OkStatus();
  }

  absl::Status Finish() {
    if (up_line_ == 0) return Fail(line_, "there is no \"-- migrate:up\" section");
    if (down_line_ == 0) {
      return Fail(line_,
                  "there is no \"-- migrate:down\" section; if the change cannot be undone, add an "
                  "empty one");
    }
    if (!has_statement_) return Fail(up_line_, "the \"-- migrate:up\" section is empty");
    migration_.up_line = up_line_ + 1;
    return absl::OkStatus();
  }

 private:
  absl::Status ReadMarker(absl::string_view marker) {
    if (marker == "up") {
      if (up_line_ > 0) return Fail(line_, "a second \"-- migrate:up\"");
      up_line_ = line_;
    } else if (marker == "down") {
      if (up_line_ == 0) return Fail(line_, "\"-- migrate:down\" before \"-- migrate:up\"");
      if (down_line_ > 0) return Fail(line_, "a second \"-- migrate:down\"");
      down_line_ = line_;
    } else {
      return Fail(line_, absl::StrCat("\"-- migrate:", marker,
                                      "\" is not known: only \"-- migrate:up\" and "
                                      "\"-- migrate:down\" are, with nothing after them"));
    }
    return absl::OkStatus();
  }

  absl::Status Fail(std::int32_t line, absl::string_view message) const {
    return FileError(migration_.file_name, line, message);
  }

  Migration& migration_;
  std::int32_t line_ = 0;       // of what was read last
  std::int32_t up_line_ = 0;    // of the marker; 0 until it was read
  std::int32_t down_line_ = 0;  // of the marker; 0 until it was read
  bool has_statement_ = false;
};

std::string NormalizeText(absl::string_view text) {
  absl::ConsumePrefix(&text, "\xEF\xBB\xBF");
  return absl::StrReplaceAll(text, {{"\r\n", "\n"}});
}

}  // namespace

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
  return migration;
}

FilePosition LocateInFile(const Migration& migration, std::int32_t position) {
  FilePosition found{.line = migration.up_line, .column = 1};
  std::int32_t current = 0;
  for (const char c : migration.up) {
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

absl::StatusOr<MigrationSet> MigrationSet::FromFiles(const std::vector<MigrationFile>& files) {
  std::vector<Migration> migrations;
  for (const MigrationFile& file : files) {
    PARLEY_ASSIGN_OR_RETURN(Migration migration, ParseMigration(file));
    migrations.push_back(std::move(migration));
  }
  const auto version_less = [](const Migration& a, const Migration& b) {
    return std::tie(a.version, a.file_name) < std::tie(b.version, b.file_name);
  };
  std::sort(migrations.begin(), migrations.end(), version_less);
  const auto twin = std::adjacent_find(
      migrations.begin(), migrations.end(),
      [](const Migration& a, const Migration& b) { return a.version == b.version; });
  if (twin != migrations.end()) {
    return FileError(std::next(twin)->file_name, 1,
                     absl::StrCat("the version is that of ", twin->file_name,
                                  "; give one of the two a later one"));
  }
  return MigrationSet(std::move(migrations));
}

absl::StatusOr<MigrationSet> MigrationSet::Embedded() {
  std::vector<MigrationFile> files;
  for (const EmbeddedMigration& file : EmbeddedMigrations()) {
    files.push_back({std::string(file.file_name), std::string(file.text)});
  }
  return FromFiles(files);
}

absl::StatusOr<MigrationSet> MigrationSet::FromDirectory(const std::string& directory) {
  std::vector<MigrationFile> files;
  std::error_code error;
  // The loop's own increment would throw.
  std::filesystem::directory_iterator entry(directory, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::filesystem::path& path = entry->path();
    if (path.extension() != ".sql") continue;
    std::ifstream stream(path, std::ios::binary);
    std::string text(std::istreambuf_iterator<char>(stream), {});
    if (!stream) return absl::NotFoundError(absl::StrCat(path.string(), " cannot be read"));
    files.push_back({path.filename().string(), std::move(text)});
  }
  if (error) return absl::NotFoundError(absl::StrCat(directory, ": ", error.message()));
  if (files.empty()) return absl::NotFoundError(absl::StrCat(directory, " has no *.sql files"));
  return FromFiles(files);
}

MigrationSet MigrationSet::Only(const std::set<std::string>& versions) const {
  std::vector<Migration> migrations;
  std::copy_if(migrations_.begin(), migrations_.end(), std::back_inserter(migrations),
               [&](const Migration& migration) { return versions.contains(migration.version); });
  return MigrationSet(std::move(migrations));
}

}  // namespace parley::db
