#include "db/migrator/verify.h"

#include <memory>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "db/migrator/connection.h"
#include "db/migrator/history.h"
#include "db/migrator/migration_lock.h"
#include "db/migrator/migrator.h"
#include "db/migrator/problem.h"
#include "db/migrator/scratch_database.h"

namespace parley::db {
namespace {

// A database's schema, and what is said to have made it.
struct Observed {
  Catalog catalog;
  History history;
  std::string major_version;  // of PostgreSQL
};

absl::StatusOr<Observed> ObserveUnlocked(Connection& connection) {
  Observed observed;
  PARLEY_ASSIGN_OR_RETURN(observed.history, ReadHistory(connection));
  PARLEY_ASSIGN_OR_RETURN(observed.catalog, ReadCatalog(connection));
  PARLEY_ASSIGN_OR_RETURN(
      const Result version,
      connection.Query("SELECT current_setting('server_version_num')::integer / 10000"));
  observed.major_version = std::string(FieldOf(version, 0, 0));
  return observed;
}

// While no migration runs.
absl::StatusOr<Observed> Observe(const Dsn& dsn, const VerifyOptions& options) {
  PARLEY_ASSIGN_OR_RETURN(Connection connection,
                          Connection::Open(dsn.WithDefault("application_name", "parley-migrate")));
  PARLEY_RETURN_IF_ERROR(AcquireMigrationLock(connection, options.lock_wait, options.report));
  absl::StatusOr<Observed> observed = ObserveUnlocked(connection);
  const absl::Status released = ReleaseMigrationLock(connection);
  if (observed.ok() && !released.ok()) return released;
  return observed;
}

// Which migrations of `set` the database has, as they are; and it may have no others.
absl::StatusOr<std::set<std::string>> AppliedVersions(const MigrationSet& set,
                                                      const History& history) {
  const SchemaState state = CompareSchema(set, history);
  PARLEY_RETURN_IF_ERROR(CheckHistory(state));
  if (!state.ahead.empty()) {
    const auto append = [](std::string* out, const AppliedMigration& applied) {
      absl::StrAppend(out, applied.version);
    };
    return ProblemError(
        Problem::kMismatch,
        absl::StrCat("the database has migrations that are not known here, so that nobody can say "
                     "what it should be: ",
                     absl::StrJoin(state.ahead, ", ", append),
                     ". Use the parley-migrate of the release that it has."));
  }
  std::set<std::string> versions;
  for (const Migration* migration : state.applied) versions.insert(migration->version);
  if (versions.empty()) {
    return absl::FailedPreconditionError(
        "no migration has been applied to this database, so there is nothing to compare it with. "
        "`parley-migrate up` applies them.");
  }
  return versions;
}

}  // namespace

absl::StatusOr<VerifyReport> VerifySchema(const Dsn& target, const MigrationSet& set,
                                          const VerifyOptions& options) {
  PARLEY_ASSIGN_OR_RETURN(const Observed found, Observe(target, options));
  PARLEY_ASSIGN_OR_RETURN(const std::set<std::string> versions,
                          AppliedVersions(set, found.history));
  PARLEY_ASSIGN_OR_RETURN(
      const std::unique_ptr<ScratchDatabase> scratch,
      options.scratch ? ScratchDatabase::Borrow(*options.scratch) : ScratchDatabase::Make(target));
  options.report({.event = "comparing",
                  .text = absl::StrCat("comparing with ", versions.size(),
                                       " migrations in the scratch database ", scratch->name())});
  const absl::Status migrated =
      MigrateUp(scratch->dsn(), set.Only(versions), Goal(), MigrateOptions());
  if (!migrated.ok()) {
    return absl::Status(migrated.code(), absl::StrCat("on the scratch database ", scratch->name(),
                                                      ": ", migrated.message()));
  }
  PARLEY_ASSIGN_OR_RETURN(const Observed expected, Observe(scratch->dsn(), options));
  PARLEY_RETURN_IF_ERROR(scratch->ClearAway());
  // They print some definitions differently.
  if (expected.major_version != found.major_version) {
    return absl::FailedPreconditionError(
        absl::StrCat("the scratch database is on PostgreSQL ", expected.major_version,
                     ", the other one on ", found.major_version,
                     ", and these cannot be compared. Give one of the same major version."));
  }
  return VerifyReport{.applied = {versions.begin(), versions.end()},
                      .differences = CompareCatalogs(expected.catalog, found.catalog)};
}

}  // namespace parley::db
