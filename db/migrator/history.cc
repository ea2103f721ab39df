#include "db/migrator/history.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "db/migrator/problem.h"

namespace parley::db {
namespace {

constexpr absl::string_view kOutcomeIsOpen = "outcome = 'running'";

Phase PhaseOf(absl::string_view name) {
  for (const Phase phase : {Phase::kExpand, Phase::kContract}) {
    if (name == PhaseName(phase)) return phase;
  }
  return Phase::kNone;
}

std::string Quoted(absl::string_view text) { return absl::StrCat("'", text, "'"); }

std::string InsertHistorySql(const Migration& migration) {
  return absl::StrCat(
      "INSERT INTO public.schema_migrations (version, applied_at, checksum, phase) VALUES (",
      Quoted(migration.version), ", now(), ", Quoted(migration.checksum), ", nullif(",
      Quoted(PhaseName(migration.phase)), ", ''));\n");
}

std::string DeleteHistorySql(absl::string_view version) {
  return absl::StrCat("DELETE FROM public.schema_migrations WHERE version = ", Quoted(version),
                      ";\n");
}

// now() is when the transaction began.
std::string DoneLogSql(absl::string_view version, absl::string_view action) {
  return absl::StrCat(
      "INSERT INTO public.schema_migration_log (version, action, outcome, started_at, finished_at)"
      " VALUES (",
      Quoted(version), ", ", Quoted(action), ", 'done', now(), clock_timestamp());\n");
}

absl::Status ReadApplied(Connection& connection, History& history) {
  // A column that is not there yet is NULL: the row as JSON does not mind.
  PARLEY_ASSIGN_OR_RETURN(
      const Result rows,
      connection.Query("SELECT version, to_jsonb(m) ->> 'checksum', to_jsonb(m) ->> 'phase'"
                       " FROM public.schema_migrations m"));
  for (int row = 0; row < PQntuples(rows.get()); ++row) {
    AppliedMigration& applied = history.applied.emplace_back();
    applied.version = std::string(FieldOf(rows, row, 0));
    if (!PQgetisnull(rows.get(), row, 1)) applied.checksum.emplace(FieldOf(rows, row, 1));
    applied.phase = PhaseOf(FieldOf(rows, row, 2));
  }
  std::sort(history.applied.begin(), history.applied.end(),
            [](const auto& a, const auto& b) { return a.version < b.version; });
  return absl::OkStatus();
}

absl::Status ReadInterrupted(Connection& connection, History& history) {
  PARLEY_ASSIGN_OR_RETURN(const Result rows,
                          connection.Query(absl::StrCat(
                              "SELECT version, action FROM public.schema_migration_log WHERE ",
                              kOutcomeIsOpen, " ORDER BY id")));
  for (int row = 0; row < PQntuples(rows.get()); ++row) {
    history.interrupted.push_back(
        {.version = std::string(FieldOf(rows, row, 0)),
         .direction = FieldOf(rows, row, 1) == DirectionName(Direction::kDown) ? Direction::kDown
                                                                               : Direction::kUp});
  }
  return absl::OkStatus();
}

std::string FileNames(const std::vector<const Migration*>& migrations) {
  return absl::StrJoin(migrations, ", ", [](std::string* out, const Migration* migration) {
    absl::StrAppend(out, migration->file_name);
  });
}

}  // namespace

absl::string_view DirectionName(Direction direction) {
  return direction == Direction::kUp ? "up" : "down";
}

absl::StatusOr<History> ReadHistory(Connection& connection) {
  PARLEY_ASSIGN_OR_RETURN(
      const Result type,
      connection.Query("SELECT coalesce(atttypid::regtype::text, 'missing'),"
                       "  pg_catalog.to_regclass('public.schema_migration_log') IS NOT NULL,"
                       "  pg_catalog.has_table_privilege("
                       "    pg_catalog.to_regclass('public.schema_migration_log'), 'SELECT'),"
                       "  (SELECT count(*) FROM pg_catalog.pg_attribute c"
                       "   WHERE c.attrelid = v.attrelid AND NOT c.attisdropped"
                       "   AND c.attname IN ('applied_at', 'checksum', 'phase'))"
                       " FROM pg_catalog.pg_class t LEFT JOIN pg_catalog.pg_attribute v"
                       " ON v.attrelid = t.oid AND v.attname = 'version' AND NOT v.attisdropped"
                       " WHERE t.oid = pg_catalog.to_regclass('public.schema_migrations')"));
  History history;
  history.has_table = PQntuples(type.get()) > 0;
  if (!history.has_table) return history;
  if (FieldOf(type, 0, 0) != "character varying" && FieldOf(type, 0, 0) != "text") {
    return ProblemError(
        Problem::kMismatch,
        absl::StrCat("public.schema_migrations belongs to another tool: its column \"version\" is ",
                     FieldOf(type, 0, 0), " and not varchar. Use a database of its own."));
  }
  const bool has_log = FieldOf(type, 0, 1) == "t";
  history.is_complete = has_log && FieldOf(type, 0, 3) == "3";
  PARLEY_RETURN_IF_ERROR(ReadApplied(connection, history));
  // A service's role may not be allowed to read the journal, and has no use for it.
  history.is_journal_hidden = has_log && FieldOf(type, 0, 2) != "t";
  if (has_log && !history.is_journal_hidden) {
    PARLEY_RETURN_IF_ERROR(ReadInterrupted(connection, history));
  }
  return history;
}

std::string EnsureHistorySql() {
  // The default is given afterwards, or rows of another tool would get today's date.
  // Without the notices of what is there already.
  return "SET LOCAL client_min_messages = warning;\n"
         "CREATE TABLE IF NOT EXISTS public.schema_migrations (version varchar PRIMARY KEY);\n"
         "ALTER TABLE public.schema_migrations\n"
         "  ADD COLUMN IF NOT EXISTS applied_at timestamptz,\n"
         "  ADD COLUMN IF NOT EXISTS checksum text,\n"
         "  ADD COLUMN IF NOT EXISTS phase text;\n"
         "ALTER TABLE public.schema_migrations ALTER COLUMN applied_at SET DEFAULT now();\n"
         "CREATE TABLE IF NOT EXISTS public.schema_migration_log (\n"
         "  id bigserial PRIMARY KEY,\n"
         "  version varchar NOT NULL,\n"
         "  action text NOT NULL CHECK (action IN ('up', 'down', 'stamp', 'repair', 'adopt')),\n"
         "  outcome text NOT NULL CHECK (outcome IN ('running', 'done', 'failed')),\n"
         "  error text,\n"
         "  started_at timestamptz NOT NULL,\n"
         "  finished_at timestamptz,\n"
         "  role text NOT NULL DEFAULT session_user\n"
         ");\n"
         "SET LOCAL client_min_messages TO DEFAULT;\n";
}

std::string RecordUpSql(const Migration& migration) {
  return InsertHistorySql(migration) + DoneLogSql(migration.version, "up");
}

std::string RecordDownSql(const Migration& migration) {
  return DeleteHistorySql(migration.version) + DoneLogSql(migration.version, "down");
}

std::string StampSql(const Migration& migration, absl::string_view action) {
  return DeleteHistorySql(migration.version) + InsertHistorySql(migration) +
         DoneLogSql(migration.version, action);
}

std::string UnstampSql(absl::string_view version, absl::string_view action) {
  return DeleteHistorySql(version) + DoneLogSql(version, action);
}

std::string AcceptSql(const Migration& migration) {
  return absl::StrCat("UPDATE public.schema_migrations SET checksum = ", Quoted(migration.checksum),
                      ", phase = nullif(", Quoted(PhaseName(migration.phase)),
                      ", '') WHERE version = ", Quoted(migration.version), ";\n") +
         DoneLogSql(migration.version, "repair");
}

std::string BeginLogSql(const Migration& migration, Direction direction) {
  return absl::StrCat(
      "INSERT INTO public.schema_migration_log (version, action, outcome, started_at) VALUES (",
      Quoted(migration.version), ", ", Quoted(DirectionName(direction)), ", 'running', now());\n");
}

std::string EndLogSql(const Migration& migration, Direction direction) {
  return (direction == Direction::kUp
              ? DeleteHistorySql(migration.version) + InsertHistorySql(migration)
              : DeleteHistorySql(migration.version)) +
         absl::StrCat(
             "UPDATE public.schema_migration_log"
             " SET finished_at = clock_timestamp(), outcome = 'done' WHERE version = ",
             Quoted(migration.version), " AND action = ", Quoted(DirectionName(direction)), " AND ",
             kOutcomeIsOpen, ";\n");
}

std::string CloseLogSql(absl::string_view version, absl::string_view error) {
  return absl::StrCat(
      "UPDATE public.schema_migration_log"
      " SET finished_at = clock_timestamp(), outcome = 'failed', error = ",
      error, " WHERE version = ", Quoted(version), " AND ", kOutcomeIsOpen, ";\n");
}

std::string FailedLogSql(const Migration& migration, Direction direction, absl::string_view error) {
  return absl::StrCat(
      "INSERT INTO public.schema_migration_log"
      " (version, action, outcome, error, started_at, finished_at) VALUES (",
      Quoted(migration.version), ", ", Quoted(DirectionName(direction)), ", 'failed', ", error,
      ", now(), clock_timestamp());\n");
}

SchemaState CompareSchema(const MigrationSet& set, const History& history) {
  SchemaState state;
  state.interrupted = history.interrupted;
  std::map<std::string, const AppliedMigration*> unknown;
  for (const AppliedMigration& applied : history.applied) unknown[applied.version] = &applied;
  const std::string newest = history.Newest();
  for (const Migration& migration : set.migrations()) {
    const auto found = unknown.find(migration.version);
    if (found == unknown.end()) {
      state.pending.push_back(&migration);
      if (migration.version < newest) state.out_of_order.push_back(&migration);
      continue;
    }
    state.applied.push_back(&migration);
    const std::optional<std::string>& checksum = found->second->checksum;
    if (!checksum.has_value()) {
      state.unverified.push_back(&migration);
    } else if (*checksum != migration.checksum) {
      state.changed.push_back(&migration);
    }
    unknown.erase(found);
  }
  for (const auto& [version, applied] : unknown) {
    const bool is_older = !set.migrations().empty() && version < set.migrations().back().version;
    (is_older ? state.missing : state.ahead).push_back(*applied);
  }
  return state;
}

absl::Status CheckHistory(const SchemaState& state) {
  std::string text;
  if (!state.changed.empty()) {
    absl::StrAppend(&text, "changed since they were applied: ", FileNames(state.changed),
                    ". Give them back their text, and make the change in a new file; or, if the "
                    "database is right as it is, `parley-migrate repair` accepts them.");
  }
  if (!state.missing.empty()) {
    absl::StrAppend(&text, text.empty() ? "" : "\n", "applied, but there is no file: ",
                    absl::StrJoin(state.missing, ", ",
                                  [](std::string* out, const AppliedMigration& applied) {
                                    absl::StrAppend(out, applied.version);
                                  }),
                    ". Use the release or the directory that has them.");
  }
  return text.empty() ? absl::OkStatus() : ProblemError(Problem::kMismatch, text);
}

}  // namespace parley::db
