// Puts the history right where it and the database have come apart. The schema itself is left
// alone, but for INVALID indexes.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "db/core/dsn.h"
#include "db/migrator/migration_set.h"
#include "db/migrator/migrator.h"

namespace parley::db {

// Makes the history say that everything up to `version` is applied, and nothing after it; empty:
// nothing at all. For a database whose schema was made by other means. kUsage for an unknown
// version; kLocked.
absl::Status Stamp(const Dsn& dsn, const MigrationSet& set, const std::string& version,
                   const MigrateOptions& options);

// What became of the statement of this version, which was interrupted outside a transaction. One of
// them, or none.
struct RepairParams {
  std::string done;    // it took effect
  std::string undone;  // it did not
};

// Closes what `params` says; with none, records the checksums of the files as they are now where
// the history has none or others. kUsage for a version that was not interrupted; kLocked.
absl::Status Repair(const Dsn& dsn, const MigrationSet& set, const RepairParams& params,
                    const MigrateOptions& options);

}  // namespace parley::db
