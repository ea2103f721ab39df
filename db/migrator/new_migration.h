// The file that a migration begins as.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/migrator/migration_file.h"

namespace parley::db {

struct NewMigration {
  std::string directory;
  std::string name;
  Phase phase = Phase::kExpand;  // not kNone
  bool is_transactional = true;  // of both sections
  absl::Time now;                // the version, unless the directory has a later one
};

// Writes YYYYMMDDHHMMSS_name.sql, in UTC and later than all that are there, with the markers and no
// statement; it cannot be applied before it has one. Returns the file's name, without the
// directory. Problem kUsage: the name is not made of letters, digits and underscores, or another
// file has it. NOT_FOUND: there is no such directory. INTERNAL: the file cannot be written.
absl::StatusOr<std::string> WriteNewMigration(const NewMigration& migration);

}  // namespace parley::db
