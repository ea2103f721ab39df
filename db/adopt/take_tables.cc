#include "db/adopt/take_tables.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "db/migrator/history.h"
#include "db/migrator/problem.h"
#include "db/migrator/section_runner.h"
#include "db/migrator/sql_text.h"

namespace parley::adopt {
namespace {

using db::Connection;
using db::FieldOf;
using db::Result;

constexpr absl::Duration kFirstRest = absl::Milliseconds(100);
constexpr absl::Duration kLongestRest = absl::Seconds(10);

// Those of the original's tables that are there, qualified.
absl::StatusOr<std::vector<std::string>> TablesThere(Connection& connection) {
  std::vector<std::string> tables;
  for (const char* table : kOriginalTables) {
    PARLEY_ASSIGN_OR_RETURN(
        const Result there,
        connection.Query(absl::StrCat("SELECT FROM pg_catalog.pg_class WHERE relkind = 'r' AND"
                                      " oid = pg_catalog.to_regclass('public.",
                                      table, "')")));
    if (PQntuples(there.get()) > 0) tables.push_back(absl::StrCat("public.", table));
  }
  return tables;
}

// "pid 4711 (celery, idle in transaction) has a lock on chats", a line for each session. What a
// session does is shown to its own role, and to those that may see all.
std::string HoldersOf(Connection& connection, const std::vector<std::string>& tables) {
  const absl::StatusOr<Result> holders = connection.Query(absl::StrCat(
      "SELECT coalesce('pid ' || l.pid, 'a prepared transaction') || ' (' ||"
      " concat_ws(', ', nullif(a.application_name, ''), a.usename, a.state) || ') has a lock on ' "
      "||"
      " string_agg(DISTINCT l.relation::regclass::text, ', ')"
      " FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
      " WHERE l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() AND l.relation = ANY ('{",
      absl::StrJoin(tables, ","),
      "}'::regclass[]) AND l.database ="
      " (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"
      " GROUP BY l.pid, a.application_name, a.usename, a.state ORDER BY l.pid"));
  if (!holders.ok() || PQntuples(holders->get()) == 0) return "whoever had it has let go since";
  std::vector<std::string> lines;
  lines.reserve(static_cast<std::size_t>(PQntuples(holders->get())));
  for (int row = 0; row < PQntuples(holders->get()); ++row) {
    lines.emplace_back(FieldOf(*holders, row, 0));
  }
  return absl::StrJoin(lines, "\n  ");
}

// The file as it runs in a transaction. Nobody else can see the tables, so nothing is lost.
absl::StatusOr<std::string> TransactionalForm(const std::string& sql) {
  PARLEY_ASSIGN_OR_RETURN(const std::vector<db::SqlStatement> statements, db::SplitStatements(sql));
  std::string text;
  std::size_t copied = 0;
  for (const db::SqlStatement& statement : statements) {
    for (const db::SqlToken& token : statement.tokens) {
      if (!db::Is(token, "CONCURRENTLY")) continue;
      absl::StrAppend(&text, sql.substr(copied, token.offset - copied));
      copied = token.offset + token.text.size();
    }
  }
  return absl::StrCat(text, sql.substr(copied));
}

}  // namespace

absl::Status LockOriginal(Connection& connection, const AdoptOptions& options, Steps& steps) {
  PARLEY_ASSIGN_OR_RETURN(const std::vector<std::string> tables, TablesThere(connection));
  if (tables.empty()) return absl::OkStatus();
  const auto milliseconds =
      absl::ToInt64Milliseconds(absl::Ceil(options.lock_timeout, absl::Milliseconds(1)));
  PARLEY_RETURN_IF_ERROR(connection.Execute(
      absl::StrCat("SET LOCAL lock_timeout = ", milliseconds, "; SAVEPOINT without_locks")));
  const std::string lock =
      absl::StrCat("LOCK TABLE ", absl::StrJoin(tables, ", "), " IN ACCESS EXCLUSIVE MODE");
  const absl::Time deadline = SteadyNow() + options.lock_retry;
  absl::BitGen random;
  std::string holders;
  for (absl::Duration rest = kFirstRest;; rest = std::min(rest * 2, kLongestRest)) {
    const Result locked = connection.Run(lock);
    if (db::Succeeded(locked)) return absl::OkStatus();
    if (!db::IsLockTrouble(db::SqlStateOf(locked))) {
      const std::string error = db::ErrorTextOf(locked);
      return connection.IsLost() ? absl::UnavailableError(error) : absl::InternalError(error);
    }
    // Gives back the locks that were to be had, so that the application goes on meanwhile.
    PARLEY_RETURN_IF_ERROR(connection.Execute("ROLLBACK TO SAVEPOINT without_locks"));
    const std::string now = HoldersOf(connection, tables);
    const absl::Duration left = deadline - SteadyNow();
    if (left <= absl::ZeroDuration()) {
      return db::ProblemError(
          db::Problem::kLocked,
          absl::StrCat("others use the tables:\n  ", now,
                       "\nStop the original's application; nothing was changed."));
    }
    if (now != holders) steps.Report(absl::StrCat("waiting: ", now));
    holders = now;
    absl::SleepFor(std::min(left, rest * absl::Uniform(random, 0.5, 1.0)));
  }
}

absl::Status MoveOriginal(Connection& connection, const OriginalSchema& schema) {
  std::string sql = "CREATE SCHEMA original;";
  for (const char* table : kOriginalTables) {
    absl::StrAppend(&sql, "ALTER TABLE public.", table, " SET SCHEMA original;");
  }
  if (schema.has_alembic) {
    absl::StrAppend(&sql, "ALTER TABLE public.alembic_version SET SCHEMA original;");
  }
  for (const std::string& sequence : schema.loose_sequences) {
    absl::StrAppend(&sql, "ALTER SEQUENCE ", sequence, " SET SCHEMA original;");
  }
  // Both columns may have the same.
  for (const std::string& type : std::set{schema.chat_type.name, schema.user_status.name}) {
    // A type of another schema is in nobody's way.
    if (absl::StartsWith(type, "public.")) {
      absl::StrAppend(&sql, "ALTER TYPE ", type, " SET SCHEMA original;");
    }
  }
  return connection.Execute(sql);
}

absl::Status MakeSchema(Connection& connection, const db::MigrationSet& set) {
  PARLEY_RETURN_IF_ERROR(connection.Execute(db::EnsureHistorySql()));
  for (const db::Migration& migration : set.migrations()) {
    PARLEY_ASSIGN_OR_RETURN(const std::string sql, TransactionalForm(migration.up.sql));
    const Result made = connection.Run(sql);
    if (!db::Succeeded(made)) {
      if (connection.IsLost()) return absl::UnavailableError(db::ErrorTextOf(made));
      return absl::AbortedError(
          absl::StrCat(migration.file_name, ": ", db::ErrorTextOf(made), "\nNothing was changed."));
    }
    PARLEY_RETURN_IF_ERROR(connection.Execute(db::RecordUpSql(migration)));
  }
  return absl::OkStatus();
}

}  // namespace parley::adopt
