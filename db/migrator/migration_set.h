// The migrations that a release knows: files checked and put in order. No database in here.
//
// A file is named YYYYMMDDHHMMSS_name.sql and holds two sections:
//
//   -- migrate:up
//   CREATE TABLE ...;
//   -- migrate:down
//   DROP TABLE ...;
//
// Only comments may come before the first marker. The down section may be empty, but must be there.
// A byte order mark and CRLF line ends are taken away.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace parley::db {

// A file as it was read.
struct MigrationFile {
  std::string file_name;  // without directories
  std::string text;
};

// A checked file.
struct Migration {
  std::string version;  // the 14 digits; versions sort as text
  std::string name;     // what follows them: "foundation"
  std::string file_name;
  std::string up;            // the section's lines, each ended by LF
  std::int32_t up_line = 0;  // the line of the file that is the first of `up`; from 1
};

// INVALID_ARGUMENT, with file and line, if name or text break the rules above.
absl::StatusOr<Migration> ParseMigration(const MigrationFile& file);

// Where in the file the `position`-th code point (from 1, as PostgreSQL counts) of `up` stands.
// Both numbers count from 1; columns are code points.
struct FilePosition {
  std::int32_t line = 0;
  std::int32_t column = 0;
};
FilePosition LocateInFile(const Migration& migration, std::int32_t position);

// Migrations in the order of their versions, all different. Immutable, so any thread may read it.
class MigrationSet {
 public:
  // INVALID_ARGUMENT if a file is not right or two have one version.
  static absl::StatusOr<MigrationSet> FromFiles(const std::vector<MigrationFile>& files);

  // The files built into this binary.
  static absl::StatusOr<MigrationSet> Embedded();

  // The *.sql files of `directory`; other files are left alone. NOT_FOUND if it cannot be read or
  // has none.
  static absl::StatusOr<MigrationSet> FromDirectory(const std::string& directory);

  // Those of `versions`.
  MigrationSet Only(const std::set<std::string>& versions) const;

  const std::vector<Migration>& migrations() const { return migrations_; }

 private:
  explicit MigrationSet(std::vector<Migration> migrations) : migrations_(std::move(migrations)) {}
  std::vector<Migration> migrations_;
};

}  // namespace parley::db
