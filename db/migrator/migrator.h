// Moves a database's schema up and down its migrations.
//
// Any number of migrators may be started at once: one works, the others wait and then find nothing
// to do. Killing one at any moment is harmless: the next goes on where it was (section_runner.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/dsn.h"
#include "db/migrator/history.h"
#include "db/migrator/migration_set.h"
#include "db/migrator/progress.h"
#include "db/migrator/section_runner.h"

namespace parley::db {

struct MigrateOptions {
  absl::Duration lock_wait = absl::Minutes(5);  // for other migrators to finish
  RunOptions run;
  bool allows_out_of_order = false;  // apply pending files that are older than applied ones
  ReportProgress report = nullptr;   // may be null
};

// How far to go. Neither: up applies all that is pending, down undoes one.
struct Goal {
  std::optional<std::string> version;  // up: the last to apply; down: the last to stay, "": none
  std::optional<std::int32_t> steps;   // how many files
};

// What MigrateUp would apply, in order; what was interrupted outside a transaction comes first.
// kDirty if that is not in the plan, kOutOfOrder, kMismatch (CheckHistory), kUsage for a goal that
// is no version of the set.
absl::StatusOr<std::vector<const Migration*>> PlanUp(const MigrationSet& set,
                                                     const History& history, const Goal& goal,
                                                     const MigrateOptions& options);

// What MigrateDown would undo, in order. kDirty; kMismatch also if a version to undo has no file or
// another one than was applied; kUsage also for a file whose down section is empty.
absl::StatusOr<std::vector<const Migration*>> PlanDown(const MigrationSet& set,
                                                       const History& history, const Goal& goal);

// Both block until they are done. Each file is recorded when it is done; files before the one that
// failed stay as they were made. With nothing to do neither takes a lock or changes anything.
// The errors of the plans and of SectionRunner::Run, and
//   kLocked               another migrator kept the lock for all of lock_wait
absl::Status MigrateUp(const Dsn& dsn, const MigrationSet& set, const Goal& goal,
                       const MigrateOptions& options);
absl::Status MigrateDown(const Dsn& dsn, const MigrationSet& set, const Goal& goal,
                         const MigrateOptions& options);

// Undoes the newest `steps` files and applies them again, under one lock.
absl::Status MigrateRedo(const Dsn& dsn, const MigrationSet& set, std::int32_t steps,
                         const MigrateOptions& options);

// Up with the migrations built into this binary and the default options.
absl::Status MigrateUp(const Dsn& dsn);

// Connects as the migrator, which says who it is, and prepares the session (session_setup.h).
absl::StatusOr<Connection> OpenForMigration(const Dsn& dsn);

}  // namespace parley::db
