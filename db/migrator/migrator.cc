#include "db/migrator/migrator.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "db/migrator/concurrent_section.h"
#include "db/migrator/connection.h"
#include "db/migrator/migration_lock.h"
#include "db/migrator/other_history.h"
#include "db/migrator/problem.h"
#include "db/migrator/session_setup.h"

namespace parley::db {
namespace {

using Plan = std::vector<const Migration*>;

absl::Status CheckVersion(const MigrationSet& set, const Goal& goal) {
  if (!goal.version.has_value() || goal.version->empty()) return absl::OkStatus();
  if (set.Find(*goal.version) != nullptr) return absl::OkStatus();
  return ProblemError(Problem::kUsage, absl::StrCat("there is no migration ", *goal.version,
                                                    "; `parley-migrate status` lists them"));
}

absl::Status OutOfOrder(const Plan& files, absl::string_view newest) {
  const std::string names =
      absl::StrJoin(files, "\n", [](std::string* out, const Migration* migration) {
        absl::StrAppend(out, "  ", migration->file_name);
      });
  return ProblemError(
      Problem::kOutOfOrder,
      absl::StrCat("older than what is already applied (newest: ", newest, "):\n", names,
                   "\nGive these files a later version, or apply them with "
                   "`parley-migrate up --allow-out-of-order`; nothing was changed."));
}

// What was interrupted outside a transaction is taken up before anything else, or not at all.
absl::StatusOr<Plan> InterruptedFirst(const History& history, Plan plan, Direction direction) {
  for (const Interrupted& interrupted : history.interrupted) {
    const auto found = std::find_if(plan.begin(), plan.end(), [&](const Migration* migration) {
      return migration->version == interrupted.version && direction == interrupted.direction;
    });
    if (found == plan.end()) {
      return ProblemError(
          Problem::kDirty,
          absl::StrCat("`parley-migrate ", DirectionName(interrupted.direction),
                       "` goes on where it was if that was the making or dropping of an index. ",
                       InterruptedError(interrupted).message()));
    }
    std::rotate(plan.begin(), found, found + 1);
  }
  return plan;
}

absl::Status RunAll(SectionRunner& runner, const Plan& plan, Direction direction) {
  for (const Migration* migration : plan) {
    PARLEY_RETURN_IF_ERROR(runner.Run(*migration, direction));
  }
  return absl::OkStatus();
}

// A connection with the lock, and what to do on it.
struct Work {
  const Dsn& dsn;
  const MigrateOptions& options;
  // Whether there is anything to do; asked without the lock first, and again with it.
  std::function<absl::StatusOr<Plan>(const History&)> plan;
  std::function<absl::Status(SectionRunner&, const Plan&)> run;
};

absl::Status RunWithLock(Connection& connection, const Work& work, const ReportProgress& report) {
  // Others may have changed the history until now.
  PARLEY_ASSIGN_OR_RETURN(const History history, ReadHistory(connection));
  PARLEY_ASSIGN_OR_RETURN(const Plan plan, work.plan(history));
  if (plan.empty()) report({.event = "nothing", .text = "nothing left to do"});
  SectionRunner runner(connection,
                       {.dsn = work.dsn.WithDefault("application_name", "parley-migrate"),
                        .options = work.options.run,
                        .has_history = history.is_complete,
                        .report = report});
  return work.run(runner, plan);
}

absl::Status Do(const Work& work) {
  const ReportProgress report = work.options.report ? work.options.report : [](const Progress&) {};
  PARLEY_ASSIGN_OR_RETURN(Connection connection, OpenForMigration(work.dsn));
  PARLEY_ASSIGN_OR_RETURN(const History history, ReadHistory(connection));
  if (!history.has_table) PARLEY_RETURN_IF_ERROR(CheckNoOtherHistory(connection));
  PARLEY_ASSIGN_OR_RETURN(const Plan plan, work.plan(history));
  if (plan.empty()) return absl::OkStatus();

  PARLEY_RETURN_IF_ERROR(AcquireMigrationLock(connection, work.options.lock_wait, report));
  absl::Status status = RunWithLock(connection, work, report);
  // A lost connection has lost the lock too, and the first error says more.
  const absl::Status release = ReleaseMigrationLock(connection);
  status.Update(release);
  return status;
}

}  // namespace

absl::StatusOr<Connection> OpenForMigration(const Dsn& dsn) {
  PARLEY_ASSIGN_OR_RETURN(Connection connection,
                          Connection::Open(dsn.WithDefault("application_name", "parley-migrate")));
  PARLEY_RETURN_IF_ERROR(PrepareSession(connection));
  return connection;
}

absl::StatusOr<Plan> PlanUp(const MigrationSet& set, const History& history, const Goal& goal,
                            const MigrateOptions& options) {
  PARLEY_RETURN_IF_ERROR(CheckVersion(set, goal));
  const SchemaState state = CompareSchema(set, history);
  PARLEY_RETURN_IF_ERROR(CheckHistory(state));
  if (!state.out_of_order.empty() && !options.allows_out_of_order) {
    return OutOfOrder(state.out_of_order, history.Newest());
  }
  Plan plan;
  for (const Migration* migration : state.pending) {
    if (goal.version.has_value() && migration->version > *goal.version) break;
    if (goal.steps.has_value() && plan.size() == static_cast<std::size_t>(*goal.steps)) break;
    plan.push_back(migration);
  }
  return InterruptedFirst(history, std::move(plan), Direction::kUp);
}

absl::StatusOr<Plan> PlanDown(const MigrationSet& set, const History& history, const Goal& goal) {
  PARLEY_RETURN_IF_ERROR(CheckVersion(set, goal));
  const std::size_t steps = goal.version.has_value()
                                ? history.applied.size()
                                : static_cast<std::size_t>(goal.steps.value_or(1));
  Plan plan;
  const std::vector<AppliedMigration> newest_first(history.applied.rbegin(),
                                                   history.applied.rend());
  for (const AppliedMigration& applied : newest_first) {
    if (plan.size() == steps) break;
    if (goal.version.has_value() && applied.version <= *goal.version) break;
    const Migration* migration = set.Find(applied.version);
    if (migration == nullptr) {
      return ProblemError(Problem::kMismatch,
                          absl::StrCat(applied.version,
                                       " is applied, but there is no file to undo "
                                       "it with. Use the release or the directory that has it."));
    }
    if (applied.checksum.has_value() && *applied.checksum != migration->checksum) {
      return ProblemError(
          Problem::kMismatch,
          absl::StrCat(migration->file_name,
                       " was changed since it was applied, and may not undo what was "
                       "done. `parley-migrate repair` accepts it."));
    }
    if (migration->down.is_empty) {
      return ProblemError(
          Problem::kUsage,
          absl::StrCat(migration->file_name, " cannot be undone: its down section is empty"));
    }
    plan.push_back(migration);
  }
  return InterruptedFirst(history, std::move(plan), Direction::kDown);
}

absl::Status MigrateUp(const Dsn& dsn, const MigrationSet& set, const Goal& goal,
                       const MigrateOptions& options) {
  return Do({.dsn = dsn,
             .options = options,
             .plan = [&](const History& history) { return PlanUp(set, history, goal, options); },
             .run = [](SectionRunner& runner, const Plan& plan) -> absl::Status {
               return RunAll(runner, plan, Direction::kUp);
             }});
}

absl::Status MigrateDown(const Dsn& dsn, const MigrationSet& set, const Goal& goal,
                         const MigrateOptions& options) {
  return Do({.dsn = dsn,
             .options = options,
             .plan = [&](const History& history) { return PlanDown(set, history, goal); },
             .run = [](SectionRunner& runner, const Plan& plan) -> absl::Status {
               return RunAll(runner, plan, Direction::kDown);
             }});
}

absl::Status MigrateRedo(const Dsn& dsn, const MigrationSet& set, std::int32_t steps,
                         const MigrateOptions& options) {
  return Do({.dsn = dsn,
             .options = options,
             .plan =
                 [&](const History& history) {
                   return PlanDown(set, history, {.version = {}, .steps = steps});
                 },
             .run = [](SectionRunner& runner, const Plan& plan) -> absl::Status {
               PARLEY_RETURN_IF_ERROR(RunAll(runner, plan, Direction::kDown));
               return RunAll(runner, Plan(plan.rbegin(), plan.rend()), Direction::kUp);
             }});
}

absl::Status MigrateUp(const Dsn& dsn) {
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, MigrationSet::Embedded());
  return MigrateUp(dsn, set, Goal(), MigrateOptions());
}

}  // namespace parley::db
