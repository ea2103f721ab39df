#include "db/migrator/mend.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "db/migrator/connection.h"
#include "db/migrator/history.h"
#include "db/migrator/migration_lock.h"
#include "db/migrator/problem.h"
#include "db/migrator/session_setup.h"

namespace parley::db {
namespace {

struct Change {
  std::string sql;               // of the history
  std::vector<Progress> events;  // to report when it is made
};

absl::Status Execute(Connection& connection, const Change& change, absl::Duration lock_timeout) {
  if (change.sql.empty()) return absl::OkStatus();
  const Result result = connection.Run(
      absl::StrCat(BeginSectionSql(lock_timeout), EnsureHistorySql(), change.sql, "COMMIT;"));
  if (Succeeded(result)) return absl::OkStatus();
  const std::string text = absl::StrCat(
      "the history, public.schema_migrations, cannot be changed: ", ErrorTextOf(result),
      "\nNothing was changed.");
  return IsLockTrouble(SqlStateOf(result)) ? ProblemError(Problem::kLocked, text)
                                           : absl::AbortedError(text);
}

// Makes the change that `work` says, under the lock and in one transaction.
absl::Status ChangeHistory(const Dsn& dsn, const MigrateOptions& options,
                           const std::function<absl::StatusOr<Change>(const History&)>& work) {
  const ReportProgress report = options.report ? options.report : [](const Progress&) {};
  PARLEY_ASSIGN_OR_RETURN(Connection connection, OpenForMigration(dsn));
  PARLEY_RETURN_IF_ERROR(AcquireMigrationLock(connection, options.lock_wait, report));
  PARLEY_ASSIGN_OR_RETURN(const History history, ReadHistory(connection));
  PARLEY_ASSIGN_OR_RETURN(const Change change, work(history));
  PARLEY_RETURN_IF_ERROR(Execute(connection, change, options.run.lock_timeout));
  for (const Progress& event : change.events) report(event);
  if (change.events.empty()) report({.event = "nothing", .text = "nothing to do"});
  return ReleaseMigrationLock(connection);
}

// The interrupted attempt of `version`.
absl::StatusOr<Interrupted> FindInterrupted(const History& history, const std::string& version) {
  const auto found = std::find_if(
      history.interrupted.begin(), history.interrupted.end(),
      [&version](const Interrupted& interrupted) { return interrupted.version == version; });
  if (found != history.interrupted.end()) return *found;
  return ProblemError(Problem::kUsage, absl::StrCat(version, " was not interrupted"));
}

absl::StatusOr<Change> CloseInterrupted(const MigrationSet& set, const History& history,
                                        const RepairParams& params) {
  const bool is_done = !params.done.empty();
  const std::string& version = is_done ? params.done : params.undone;
  PARLEY_ASSIGN_OR_RETURN(const Interrupted interrupted, FindInterrupted(history, version));
  const Migration* migration = set.Find(version);
  if (migration == nullptr) {
    return ProblemError(Problem::kMismatch, absl::StrCat("there is no file ", version));
  }
  return Change{.sql = is_done ? EndLogSql(*migration, interrupted.direction)
                               : CloseLogSql(version, "'interrupted'"),
                .events = {{.event = "closed",
                            .text = absl::StrCat(migration->file_name, " (",
                                                 DirectionName(interrupted.direction), ") is ",
                                                 is_done ? "done" : "not done"),
                            .migration = migration}}};
}

Change AcceptFiles(const MigrationSet& set, const History& history) {
  Change change;
  const SchemaState state = CompareSchema(set, history);
  for (const std::vector<const Migration*>& files : {state.changed, state.unverified}) {
    for (const Migration* migration : files) {
      absl::StrAppend(&change.sql, AcceptSql(*migration));
      change.events.push_back({.event = "accepted",
                               .text = absl::StrCat("accepted as it is: ", migration->file_name),
                               .migration = migration});
    }
  }
  return change;
}

Change StampTo(const MigrationSet& set, const History& history, const std::string& version) {
  Change change;
  for (const Interrupted& interrupted : history.interrupted) {
    absl::StrAppend(&change.sql, CloseLogSql(interrupted.version, "'stamped'"));
  }
  for (const Migration* migration : CompareSchema(set, history).pending) {
    if (migration->version > version) break;
    absl::StrAppend(&change.sql, StampSql(*migration, "stamp"));
    change.events.push_back({.event = "stamped",
                             .text = absl::StrCat("stamped as applied: ", migration->file_name),
                             .migration = migration});
  }
  for (const AppliedMigration& applied : history.applied) {
    if (applied.version <= version) continue;
    absl::StrAppend(&change.sql, UnstampSql(applied.version, "stamp"));
    change.events.push_back({.event = "unstamped",
                             .text = absl::StrCat("stamped as not applied: ", applied.version),
                             .migration = set.Find(applied.version)});
  }
  return change;
}

}  // namespace

absl::Status Stamp(const Dsn& dsn, const MigrationSet& set, const std::string& version,
                   const MigrateOptions& options) {
  if (!version.empty() && set.Find(version) == nullptr) {
    return ProblemError(Problem::kUsage, absl::StrCat("there is no migration ", version));
  }
  return ChangeHistory(dsn, options,
                       [&](const History& history) { return StampTo(set, history, version); });
}

absl::Status Repair(const Dsn& dsn, const MigrationSet& set, const RepairParams& params,
                    const MigrateOptions& options) {
  return ChangeHistory(dsn, options, [&](const History& history) -> absl::StatusOr<Change> {
    if (!params.done.empty() || !params.undone.empty()) {
      return CloseInterrupted(set, history, params);
    }
    return AcceptFiles(set, history);
  });
}

}  // namespace parley::db
