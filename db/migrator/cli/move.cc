// up, down, redo, plan: what moves the schema, and what would.
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "db/migrator/cli/commands.h"
#include "db/migrator/connection.h"
#include "db/migrator/other_history.h"
#include "db/migrator/sql_text.h"

namespace parley::db {
namespace {

struct MoveFlags {
  Goal goal;
  bool allows_out_of_order = false;
  bool is_down = false;
};

// "none" is the ground, as of `stamp`.
void AddGoal(CLI::App& command, Goal& goal) {
  CLI::Option* to = command.add_option_function<std::string>(
      "--to", [&goal](const std::string& given) { goal.version = given == "none" ? "" : given; },
      "the version to go to; none: all the way down");
  command.add_option("--steps", goal.steps, "how many files")
      ->check(CLI::PositiveNumber)
      ->excludes(to);
}

void AddOutOfOrder(CLI::App& command, bool& flag) {
  command.add_flag("--allow-out-of-order", flag,
                   "apply pending files that are older than applied ones");
}

using Move = absl::Status (*)(const Dsn&, const MigrationSet&, const MoveFlags&,
                              const MigrateOptions&);

// Moves, and says so if there was nothing to do.
absl::Status RunMove(const CommandLine& line, const MoveFlags& flags, Move move) {
  PARLEY_ASSIGN_OR_RETURN(const Dsn dsn, line.GetDsn());
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, line.LoadSet());
  MigrateOptions options = line.GetOptions();
  options.allows_out_of_order = flags.allows_out_of_order;
  bool has_reported = false;
  options.report = [&, print = std::move(options.report)](const Progress& progress) {
    has_reported = true;
    print(progress);
  };
  PARLEY_RETURN_IF_ERROR(move(dsn, set, flags, options));
  if (!has_reported) line.Print("nothing to do", {{"event", "nothing"}});
  return absl::OkStatus();
}

// "transaction, 3 statements".
std::string Describe(const Section& section) {
  // The file was split when it was read.
  const std::size_t count = SplitStatements(section.sql).value().size();
  return absl::StrCat(section.is_transactional ? "transaction" : "no transaction", ", ", count,
                      count == 1 ? " statement" : " statements");
}

absl::Status RunPlan(const CommandLine& line, const MoveFlags& flags) {
  PARLEY_ASSIGN_OR_RETURN(const Dsn dsn, line.GetDsn());
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, line.LoadSet());
  PARLEY_ASSIGN_OR_RETURN(Connection connection, OpenForMigration(dsn));
  PARLEY_ASSIGN_OR_RETURN(const History history, ReadHistory(connection));
  if (!history.has_table) PARLEY_RETURN_IF_ERROR(CheckNoOtherHistory(connection));
  MigrateOptions options;
  options.allows_out_of_order = flags.allows_out_of_order;
  PARLEY_ASSIGN_OR_RETURN(const auto plan, flags.is_down
                                               ? PlanDown(set, history, flags.goal)
                                               : PlanUp(set, history, flags.goal, options));
  for (const Migration* migration : plan) {
    const Section& section = flags.is_down ? migration->down : migration->up;
    const absl::string_view phase = PhaseName(migration->phase);
    nlohmann::ordered_json object = EventJson(flags.is_down ? "undo" : "apply", *migration);
    object["transaction"] = section.is_transactional;
    object["phase"] = phase;
    line.Print(absl::StrCat(flags.is_down ? "undo   " : "apply  ", migration->file_name, " (",
                            Describe(section), phase.empty() ? "" : ", ", phase, ")"),
               object);
  }
  if (plan.empty()) line.Print("nothing to do", {{"event", "nothing"}});
  return absl::OkStatus();
}

}  // namespace

void AddUp(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand("up", "apply what is pending");
  const auto flags = std::make_shared<MoveFlags>();
  AddGoal(*command, flags->goal);
  AddOutOfOrder(*command, flags->allows_out_of_order);
  command->callback([&line, flags] {
    line.run = [&line, flags] {
      return RunMove(
          line, *flags,
          [](const Dsn& dsn, const MigrationSet& set, const MoveFlags& given,
             const MigrateOptions& options) { return MigrateUp(dsn, set, given.goal, options); });
    };
  });
}

void AddDown(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand("down", "undo the newest migration, or more");
  const auto flags = std::make_shared<MoveFlags>();
  AddGoal(*command, flags->goal);
  command->callback([&line, flags] {
    line.run = [&line, flags] {
      return RunMove(
          line, *flags,
          [](const Dsn& dsn, const MigrationSet& set, const MoveFlags& given,
             const MigrateOptions& options) { return MigrateDown(dsn, set, given.goal, options); });
    };
  });
}

void AddRedo(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand("redo", "undo the newest migration and apply it again");
  const auto flags = std::make_shared<MoveFlags>();
  command->add_option("--steps", flags->goal.steps, "how many files")->check(CLI::PositiveNumber);
  command->callback([&line, flags] {
    line.run = [&line, flags] {
      return RunMove(line, *flags,
                     [](const Dsn& dsn, const MigrationSet& set, const MoveFlags& given,
                        const MigrateOptions& options) {
                       return MigrateRedo(dsn, set, given.goal.steps.value_or(1), options);
                     });
    };
  });
}

void AddPlan(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand("plan", "list what `up` or `down` would do");
  const auto flags = std::make_shared<MoveFlags>();
  AddGoal(*command, flags->goal);
  AddOutOfOrder(*command, flags->allows_out_of_order);
  command->add_flag("--down", flags->is_down, "what `down` would do");
  command->callback(
      [&line, flags] { line.run = [&line, flags] { return RunPlan(line, *flags); }; });
}

}  // namespace parley::db
