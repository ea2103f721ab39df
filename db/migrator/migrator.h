// Brings a database's schema up to date.
//
// Each file is a transaction of its own that also writes its row of the history: a file is applied
// completely or not at all, and killing the migrator at any moment is harmless. Any number may be
// started at once: one works, the others wait and then find nothing to do.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/core/dsn.h"
#include "db/migrator/migration_set.h"

namespace parley::db {

struct MigrateOptions {
  absl::Duration lock_wait = absl::Minutes(5);  // for other migrators to finish
  // For a table's lock. A waiting ALTER TABLE makes every later query on the table wait behind it,
  // so this is how long the services may stand still. Rounded up to milliseconds; zero: no end.
  absl::Duration lock_timeout = absl::Seconds(5);
  std::function<void(absl::string_view line)> report = nullptr;  // progress; may be null
};

// Applies what is pending, in order. With nothing pending it takes no lock and changes nothing.
// Blocks until it is done.
//   DEADLINE_EXCEEDED     another migrator kept the lock for all of lock_wait
//   FAILED_PRECONDITION   pending files older than applied ones, a file that ended the transaction,
//                         a history of another tool
//   ABORTED               a file failed; the text says where (file:line:column), why and what to do
//   UNAVAILABLE, INTERNAL the database
// Files before the one that failed stay applied.
absl::Status MigrateUp(const Dsn& dsn, const MigrationSet& set, const MigrateOptions& options);

// The same with the migrations built into this binary and the default options.
absl::Status MigrateUp(const Dsn& dsn);

// What MigrateUp runs on an empty database, as a script for psql -v ON_ERROR_STOP=1 -f. It writes
// the history too, and fails without a trace on a database that has one.
std::string UpScript(const MigrationSet& set, absl::Duration lock_timeout);

}  // namespace parley::db
