// Whether a database's schema is still what its migrations made.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/dsn.h"
#include "db/migrator/catalog.h"
#include "db/migrator/migration_set.h"
#include "db/migrator/progress.h"

namespace parley::db {

struct VerifyOptions {
  // An empty database for the migrations to be applied to; without, one is made beside the target.
  std::optional<Dsn> scratch;
  absl::Duration lock_wait = absl::Minutes(5);  // for migrations of the target to finish
  ReportProgress report = [](const Progress&) {};
};

struct VerifyReport {
  std::vector<std::string> applied;            // versions, sorted: what was compared with
  std::vector<CatalogDifference> differences;  // empty: the schema is as it should be
};

// Applies to a scratch database the migrations of `set` that `target` says have been applied to it,
// and compares the two catalogs (catalog.h says what counts). The target is only read, while no
// migration runs there; the scratch database is cleared away whatever happens. Blocks.
//   kMismatch             `set` does not know what is applied, or has other files (CheckHistory)
//   kLocked               a migration of the target kept the lock for all of lock_wait
//   FAILED_PRECONDITION   nothing is applied; the scratch database is not empty, or on a server of
//                         another major version
//   PERMISSION_DENIED     the role may not create databases
//   ABORTED               a migration fails on an empty database
//   UNAVAILABLE, INTERNAL one of the databases
absl::StatusOr<VerifyReport> VerifySchema(const Dsn& target, const MigrationSet& set,
                                          const VerifyOptions& options);

}  // namespace parley::db
