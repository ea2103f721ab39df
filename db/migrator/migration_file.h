// One migration: its file, read and checked. No database in here.
//
// A file is named YYYYMMDDHHMMSS_name.sql and holds two sections:
//
//   -- What it is for.
//   -- parley:phase expand
//   -- migrate:up
//   CREATE TABLE ...;
//   -- migrate:down
//   DROP TABLE ...;
//
// The markers are dbmate's. What goose wants beside them ("-- +goose Up" and so on) are comments
// here; lint asks for them. Only comments may come before the first marker. The down section may be
// empty, but must be there. A byte order mark and CRLF line ends are taken away.
//
// "transaction:false" after a marker: the section cannot run in a transaction, and is one
// statement, so that what a crash leaves behind is that statement done, or not done, and nothing in
// between.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::db {

// A file as it was read.
struct MigrationFile {
  std::string file_name;  // without directories
  std::string text;
};

struct Section {
  std::string sql;        // its lines, each ended by LF
  std::int32_t line = 0;  // the line of the file that is the first of `sql`; from 1
  bool is_transactional = true;
  bool is_empty = true;  // of statements
};

// What releases can do with the schema around this migration; see CONTRIBUTING.md. With kNone the
// services are stopped while it runs.
enum class Phase {
  kNone,
  kExpand,    // releases before it work on with the schema after it
  kContract,  // the release that brings it works already with the schema before it
};
absl::string_view PhaseName(Phase phase);  // "", "expand", "contract"

// A checked file.
struct Migration {
  std::string version;  // the 14 digits; versions sort as text
  std::string name;     // what follows them: "foundation"
  std::string file_name;
  Section up;
  Section down;
  Phase phase = Phase::kNone;
  // Of the text without byte order mark, carriage returns, blanks at ends of lines and empty lines
  // at the end: what editors and git change by themselves is no change. Kept in databases.
  std::string checksum;
};

// INVALID_ARGUMENT, with file and line, if name or text break the rules above.
absl::StatusOr<Migration> ParseMigration(const MigrationFile& file);

// "file:line: message".
absl::Status FileError(absl::string_view file_name, std::int32_t line, absl::string_view message);

// Where in the file the `position`-th code point (from 1, as PostgreSQL counts) of a section
// stands. Both numbers count from 1; columns are code points.
struct FilePosition {
  std::int32_t line = 0;
  std::int32_t column = 0;
};
FilePosition LocateInFile(const Section& section, std::int32_t position);

// The name that `new` and lint want too.
bool IsMigrationName(absl::string_view name);

}  // namespace parley::db
