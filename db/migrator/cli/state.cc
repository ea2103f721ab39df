// status, history, version: where the database is.
#include <cstdint>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "db/migrator/cli/commands.h"
#include "db/migrator/concurrent_section.h"
#include "db/migrator/connection.h"
#include "db/migrator/history.h"
#include "db/migrator/problem.h"

namespace parley::db {
namespace {

struct Seen {
  SchemaState state;
  bool is_journal_hidden = false;
};

absl::StatusOr<Seen> ReadState(const CommandLine& line, const MigrationSet& set) {
  PARLEY_ASSIGN_OR_RETURN(const Dsn dsn, line.GetDsn());
  PARLEY_ASSIGN_OR_RETURN(Connection connection, OpenForMigration(dsn));
  PARLEY_ASSIGN_OR_RETURN(const History history, ReadHistory(connection));
  return Seen{CompareSchema(set, history), history.is_journal_hidden};
}

// The gravest first: each makes what follows it doubtful.
absl::Status Judge(const SchemaState& state) {
  if (!state.interrupted.empty()) return InterruptedError(state.interrupted.front());
  PARLEY_RETURN_IF_ERROR(CheckHistory(state));
  if (!state.out_of_order.empty()) {
    return ProblemError(Problem::kOutOfOrder,
                        absl::StrCat(state.out_of_order.front()->file_name,
                                     " is pending, and older than what is applied"));
  }
  if (state.pending.empty()) return absl::OkStatus();
  return ProblemError(
      Problem::kPending,
      absl::StrCat(state.pending.size(), " pending; `parley-migrate up` applies them"));
}

absl::Status RunStatus(const CommandLine& line, bool checks) {
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, line.LoadSet());
  PARLEY_ASSIGN_OR_RETURN(const Seen seen, ReadState(line, set));
  const SchemaState& state = seen.state;
  const auto print = [&line](absl::string_view kind, const Migration& migration) {
    line.Print(absl::StrCat(kind, std::string(13 - kind.size(), ' '), migration.file_name),
               EventJson(kind, migration));
  };
  const auto print_version = [&line](absl::string_view kind, const std::string& version) {
    line.Print(absl::StrCat(kind, std::string(13 - kind.size(), ' '), version),
               {{"event", kind}, {"version", version}});
  };
  for (const Migration* migration : state.applied) print("applied", *migration);
  for (const Migration* migration : state.pending) print("pending", *migration);
  for (const Migration* migration : state.out_of_order) print("out_of_order", *migration);
  for (const Migration* migration : state.changed) print("changed", *migration);
  for (const Migration* migration : state.unverified) print("unverified", *migration);
  for (const AppliedMigration& applied : state.missing) print_version("missing", applied.version);
  for (const AppliedMigration& applied : state.ahead) print_version("ahead", applied.version);
  for (const Interrupted& interrupted : state.interrupted) {
    print_version("interrupted", interrupted.version);
  }
  if (!checks) return absl::OkStatus();
  if (seen.is_journal_hidden) {
    return absl::PermissionDeniedError(
        "this role may not read public.schema_migration_log, and cannot tell whether a migration "
        "was "
        "interrupted. Grant it SELECT.");
  }
  return Judge(state);
}

absl::Status RunVersion(const CommandLine& line) {
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, line.LoadSet());
  PARLEY_ASSIGN_OR_RETURN(const Dsn dsn, line.GetDsn());
  PARLEY_ASSIGN_OR_RETURN(Connection connection, OpenForMigration(dsn));
  PARLEY_ASSIGN_OR_RETURN(const History history, ReadHistory(connection));
  const std::string database = history.applied.empty() ? "none" : history.Newest();
  const std::string& known = set.migrations().back().version;
  line.Print(absl::StrCat("database  ", database, "\n",
                          line.directory().empty() ? "built in  " : "directory ", known),
             {{"event", "version"},
              {"database", history.applied.empty() ? nlohmann::ordered_json()
                                                   : nlohmann::ordered_json(database)},
              {"known", known}});
  return absl::OkStatus();
}

// The journal; of rows that another tool has written there is none.
constexpr char kHistorySql[] =
    "SELECT to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), version, "
    "action,"
    " outcome, coalesce((extract(epoch FROM finished_at - started_at) * 1000)::bigint::text, ''),"
    " role, coalesce(error, '')"
    " FROM public.schema_migration_log ORDER BY id";

absl::Status RunHistory(const CommandLine& line) {
  PARLEY_ASSIGN_OR_RETURN(const Dsn dsn, line.GetDsn());
  PARLEY_ASSIGN_OR_RETURN(Connection connection, OpenForMigration(dsn));
  PARLEY_ASSIGN_OR_RETURN(const History history, ReadHistory(connection));
  if (!history.is_complete) {
    line.Print("there is no journal: nothing was migrated with this tool yet",
               {{"event", "nothing"}});
    return absl::OkStatus();
  }
  PARLEY_ASSIGN_OR_RETURN(const Result rows, connection.Query(kHistorySql));
  for (int row = 0; row < PQntuples(rows.get()); ++row) {
    const auto field = [&](int column) { return std::string(FieldOf(rows, row, column)); };
    const std::string took = field(4).empty() ? "" : absl::StrCat(" in ", field(4), " ms");
    const std::string error = field(6).empty() ? "" : absl::StrCat(": ", field(6));
    std::int64_t number = 0;
    const bool is_over = absl::SimpleAtoi(field(4), &number);
    const nlohmann::ordered_json milliseconds = is_over ? nlohmann::ordered_json(number) : nullptr;
    line.Print(absl::StrCat(field(0), "  ", field(1), "  ", field(2), " ", field(3), took, " by ",
                            field(5), error),
               {{"event", "attempt"},
                {"started_at", field(0)},
                {"version", field(1)},
                {"action", field(2)},
                {"outcome", field(3)},
                {"milliseconds", milliseconds},
                {"role", field(5)},
                {"error", field(6)}});
  }
  return absl::OkStatus();
}

}  // namespace

void AddStatus(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand("status", "list migrations and what became of them");
  const auto checks = std::make_shared<bool>(false);
  command->add_flag("--check", *checks,
                    "exit with 3 if migrations are pending, with 4, 6 or 7 if something is wrong");
  command->callback(
      [&line, checks] { line.run = [&line, checks] { return RunStatus(line, *checks); }; });
}

void AddHistory(CLI::App& app, CommandLine& line) {
  app.add_subcommand("history", "list what was done to the schema, when and by whom")
      ->callback([&line] { line.run = [&line] { return RunHistory(line); }; });
}

void AddVersion(CLI::App& app, CommandLine& line) {
  app.add_subcommand("version", "print the database's version and the one known here")
      ->callback([&line] { line.run = [&line] { return RunVersion(line); }; });
}

}  // namespace parley::db
