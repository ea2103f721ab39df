#include "db/migrator/mend.h"

#include <algorithm>
#include <functional>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "db/migrator/connection.h"
#include "db/migrator/history.h"
#include "db/migrator/migration_lock.h"
#include "db/migrator/problem.h"

namespace parley::db {
namespace {

// Runs `work` under the lock and in one transaction. It returns the SQL that changes the history.
absl::Status ChangeHistory(
    const Dsn& dsn, const MigrateOptions& options,
    const std::function<absl::StatusOr<std::string>(const History&, const ReportProgress&)>& work) {
  const ReportProgress report = options.report ? options.report : [](const Progress&) {};
  PARLEY_ASSIGN_OR_RETURN(Connection connection, OpenForMigration(dsn));
  PARLEY_RETURN_IF_ERROR(AcquireMigrationLock(connection, options.lock_wait, report));
  PARLEY_ASSIGN_OR_RETURN(const History history, ReadHistory(connection));
  PARLEY_ASSIGN_OR_RETURN(const std::string sql, work(history, report));
  if (!sql.empty()) {
    PARLEY_RETURN_IF_ERROR(connection.Execute(absl::StrCat(
        BeginSectionSql(options.run.lock_timeout), EnsureHistorySql(), sql, "COMMIT;")));
  }
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

absl::StatusOr<std::string> CloseInterrupted(const MigrationSet& set, const History& history,
                                             const RepairParams& params) {
  std::string sql;
  if (!params.undone.empty()) {
    PARLEY_RETURN_IF_ERROR(FindInterrupted(history, params.undone).status());
    absl::StrAppend(&sql, CloseLogSql(params.undone, "'interrupted'"));
  }
  if (!params.done.empty()) {
    PARLEY_ASSIGN_OR_RETURN(const Interrupted interrupted, FindInterrupted(history, params.done));
    const Migration* migration = set.Find(params.done);
    if (migration == nullptr) {
      return ProblemError(Problem::kMismatch, absl::StrCat("there is no file ", params.done));
    }
    absl::StrAppend(&sql, EndLogSql(*migration, interrupted.direction));
  }
  return sql;
}

}  // namespace

absl::Status Stamp(const Dsn& dsn, const MigrationSet& set, const std::string& version,
                   const MigrateOptions& options) {
  if (!version.empty() && set.Find(version) == nullptr) {
    return ProblemError(Problem::kUsage, absl::StrCat("there is no migration ", version));
  }
  return ChangeHistory(
      dsn, options,
      [&](const History& history, const ReportProgress& report) -> absl::StatusOr<std::string> {
        std::string sql;
        for (const Migration* migration : CompareSchema(set, history).pending) {
          if (migration->version > version) break;
          absl::StrAppend(&sql, StampSql(*migration, "stamp"));
          report({.event = "stamped",
                  .text = absl::StrCat("stamped as applied: ", migration->file_name),
                  .migration = migration});
        }
        for (const AppliedMigration& applied : history.applied) {
          if (applied.version <= version) continue;
          absl::StrAppend(&sql, UnstampSql(applied.version, "stamp"));
          report({.event = "unstamped",
                  .text = absl::StrCat("stamped as not applied: ", applied.version),
                  .migration = set.Find(applied.version)});
        }
        return sql;
      });
}

absl::Status Repair(const Dsn& dsn, const MigrationSet& set, const RepairParams& params,
                    const MigrateOptions& options) {
  return ChangeHistory(
      dsn, options,
      [&](const History& history, const ReportProgress& report) -> absl::StatusOr<std::string> {
        PARLEY_ASSIGN_OR_RETURN(std::string sql, CloseInterrupted(set, history, params));
        const SchemaState state = CompareSchema(set, history);
        for (const std::vector<const Migration*>& files : {state.changed, state.unverified}) {
          for (const Migration* migration : files) {
            absl::StrAppend(&sql, AcceptSql(*migration));
            report({.event = "accepted",
                    .text = absl::StrCat("accepted as it is: ", migration->file_name),
                    .migration = migration});
          }
        }
        return sql;
      });
}

}  // namespace parley::db
