#include "db/migrator/migrator.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "db/migrator/connection.h"
#include "db/migrator/history.h"
#include "db/migrator/migration_lock.h"

namespace parley::db {
namespace {

// The settings are local to the transaction: what the role or the database has configured may not
// end a long file, and says nothing about the encoding of ours.
std::string BeginSql(absl::Duration lock_timeout) {
  const std::int64_t milliseconds =
      absl::ToInt64Milliseconds(absl::Ceil(lock_timeout, absl::Milliseconds(1)));
  return absl::StrCat(
      "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;\n"
      "SET LOCAL lock_timeout = ",
      milliseconds,
      ";\n"
      "SET LOCAL statement_timeout = 0;\n"
      "SET LOCAL idle_in_transaction_session_timeout = 0;\n"
      "SET LOCAL client_encoding = 'UTF8';");
}

// A file's SET may not reach the next one. Not DISCARD ALL, which would give the lock back.
constexpr absl::string_view kResetSql = "RESET SESSION AUTHORIZATION;\nRESET ROLE;\nRESET ALL;";

// Lets the server notice within seconds that the migrator was killed, even in the middle of a long
// statement; otherwise its lock would outlive it for as long as that runs. Servers before 14 do not
// have the setting.
constexpr absl::string_view kNoticeDeathSql =
    "SELECT pg_catalog.set_config(name, '2s', false) FROM pg_catalog.pg_settings"
    " WHERE name = 'client_connection_check_interval'";

std::string FileNames(const std::vector<const Migration*>& migrations) {
  return absl::StrJoin(migrations, "\n", [](std::string* out, const Migration* migration) {
    absl::StrAppend(out, "  ", migration->file_name);
  });
}

absl::Status EndedTransaction(const Migration& migration) {
  return absl::FailedPreconditionError(absl::StrCat(
      migration.file_name,
      ": the file ended the transaction that it runs in. Part of it may have stayed, and it is not "
      "recorded as applied. Take COMMIT, ROLLBACK and the like out of the file, undo by hand what "
      "stayed, and run `parley-migrate up` again."));
}

absl::string_view AdviceFor(absl::string_view sqlstate) {
  if (sqlstate == "55P03") {
    return "Another session holds a lock on what the file changes. Run `parley-migrate up` again "
           "at a quieter time, or with a longer --lock-timeout.";
  }
  if (sqlstate == "42501") {
    return "Give the role the privilege, or run `parley-migrate up` as the owner of the schema.";
  }
  return "Correct the cause and run `parley-migrate up` again.";
}

// "file.sql:12:3" if the server says where in the text the error is; it does for some only.
std::string PlaceOf(const Migration& migration, const Result& result) {
  const char* field = PQresultErrorField(result.get(), PG_DIAG_STATEMENT_POSITION);
  std::int32_t position = 0;
  if (field == nullptr || !absl::SimpleAtoi(field, &position)) return migration.file_name;
  const FilePosition found = LocateInFile(migration, position);
  return absl::StrCat(migration.file_name, ":", found.line, ":", found.column);
}

// Whether the text surely ends with a statement's semicolon, and not with one in a comment.
bool EndsItsLastStatement(absl::string_view up) {
  const absl::string_view last_line = up.substr(up.rfind('\n') + 1);
  return absl::EndsWith(last_line, ";") && !absl::StrContains(last_line, "--") &&
         !absl::StrContains(last_line, "*/");
}

// Applies pending files on a connection that has the lock.
class FileRunner {
 public:
  FileRunner(Connection& connection, const MigrateOptions& options)
      : connection_(connection), options_(options) {}

  // Must follow the lock: others may have changed the history until then.
  absl::Status ApplyPending(const MigrationSet& set) {
    PARLEY_ASSIGN_OR_RETURN(const History history, ReadHistory(connection_));
    const SchemaState state = CompareSchema(set, history);
    if (!state.out_of_order.empty()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "older than what is already applied (newest: ", history.versions.back(), "):\n",
          FileNames(state.out_of_order),
          "\nGive these files a later version and run `parley-migrate up` again; nothing was "
          "changed."));
    }
    has_history_ = history.has_table;
    if (state.pending.empty()) options_.report("nothing left to do");
    for (const Migration* migration : state.pending) {
      const absl::Time start = SteadyNow();
      PARLEY_RETURN_IF_ERROR(ResetSession());
      PARLEY_RETURN_IF_ERROR(Apply(*migration));
      options_.report(absl::StrCat("applied ", migration->file_name, " in ",
                                   absl::ToInt64Milliseconds(SteadyNow() - start), " ms"));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status ResetSession() {
    return connection_.Execute(absl::StrCat(kResetSql, "\n", kNoticeDeathSql));
  }

  absl::Status Apply(const Migration& migration) {
    PARLEY_RETURN_IF_ERROR(connection_.Execute(BeginSql(options_.lock_timeout)));
    absl::Status status = RunInTransaction(migration);
    // After a lost connection the server does this by itself.
    if (!connection_.IsLost() && connection_.TransactionStatus() != PQTRANS_IDLE) {
      connection_.Run("ROLLBACK");
    }
    return status;
  }

  absl::Status RunInTransaction(const Migration& migration) {
    // With the first file, so that a first file that fails leaves an empty database.
    if (!has_history_) PARLEY_RETURN_IF_ERROR(CreateHistory());
    PARLEY_ASSIGN_OR_RETURN(const std::string transaction, TransactionId());
    const Result result = connection_.Run(migration.up);
    if (!Succeeded(result)) return SectionFailed(migration, transaction, result);
    if (connection_.TransactionStatus() != PQTRANS_INTRANS) return EndedTransaction(migration);
    // COMMIT; BEGIN leaves us in a transaction, but in another one.
    PARLEY_ASSIGN_OR_RETURN(const std::string transaction_now, TransactionId());
    if (transaction_now != transaction) return EndedTransaction(migration);
    PARLEY_RETURN_IF_ERROR(connection_.Execute(InsertHistorySql(migration)));
    PARLEY_RETURN_IF_ERROR(Commit(migration));
    has_history_ = true;
    return absl::OkStatus();
  }

  absl::Status CreateHistory() {
    const Result result = connection_.Run(CreateHistorySql());
    if (Succeeded(result)) return absl::OkStatus();
    return absl::AbortedError(
        absl::StrCat("the history, public.schema_migrations, cannot be made: ", ErrorTextOf(result),
                     "\n", AdviceFor(SqlStateOf(result))));
  }

  absl::StatusOr<std::string> TransactionId() {
    PARLEY_ASSIGN_OR_RETURN(const Result id, connection_.Query("SELECT pg_catalog.txid_current()"));
    return std::string(FieldOf(id, 0, 0));
  }

  absl::Status Commit(const Migration& migration) {
    const Result result = connection_.Run("COMMIT");
    if (Succeeded(result)) return absl::OkStatus();
    if (!connection_.IsLost()) return NothingKept(migration, result);
    return absl::UnavailableError(absl::StrCat(
        migration.file_name,
        ": the connection was lost during the commit, so the file may be applied or not; "
        "`parley-migrate up` finds out and goes on. ",
        ErrorTextOf(result)));
  }

  absl::Status SectionFailed(const Migration& migration, const std::string& transaction,
                             const Result& result) {
    if (connection_.IsLost()) {
      return absl::UnavailableError(absl::StrCat(
          migration.file_name, ": the connection was lost; `parley-migrate up` goes on with this ",
          "file. ", ErrorTextOf(result)));
    }
    // The error came in our transaction, in none, or in one that the file began; the server knows
    // what became of ours.
    const bool is_outside = connection_.TransactionStatus() == PQTRANS_IDLE;
    if (!is_outside) connection_.Run("ROLLBACK");
    PARLEY_ASSIGN_OR_RETURN(
        const Result outcome,
        connection_.Query(absl::StrCat("SELECT pg_catalog.txid_status(", transaction, ")")));
    if (!is_outside && FieldOf(outcome, 0, 0) == "aborted") return NothingKept(migration, result);
    return absl::FailedPreconditionError(absl::StrCat(PlaceOf(migration, result), ": ",
                                                      ErrorTextOf(result), "\n",
                                                      EndedTransaction(migration).message()));
  }

  static absl::Status NothingKept(const Migration& migration, const Result& result) {
    return absl::AbortedError(absl::StrCat(PlaceOf(migration, result), ": ", ErrorTextOf(result),
                                           "\nNothing of this file was kept. ",
                                           AdviceFor(SqlStateOf(result))));
  }

  Connection& connection_;
  const MigrateOptions& options_;
  bool has_history_ = false;
};

}  // namespace

absl::Status MigrateUp(const Dsn& dsn, const MigrationSet& set, const MigrateOptions& options) {
  MigrateOptions full = options;
  if (!full.report) full.report = [](absl::string_view) {};
  PARLEY_ASSIGN_OR_RETURN(Connection connection,
                          Connection::Open(dsn.WithDefault("application_name", "parley-migrate")));
  PARLEY_ASSIGN_OR_RETURN(const History history, ReadHistory(connection));
  if (CompareSchema(set, history).pending.empty()) return absl::OkStatus();

  PARLEY_RETURN_IF_ERROR(AcquireMigrationLock(connection, full.lock_wait, full.report));
  absl::Status status = FileRunner(connection, full).ApplyPending(set);
  // A lost connection has lost the lock too, and the first error says more.
  const absl::Status release = ReleaseMigrationLock(connection);
  status.Update(release);
  return status;
}

absl::Status MigrateUp(const Dsn& dsn) {
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, MigrationSet::Embedded());
  return MigrateUp(dsn, set, MigrateOptions());
}

std::string UpScript(const MigrationSet& set, absl::Duration lock_timeout) {
  std::string script =
      "-- For an empty database: psql -v ON_ERROR_STOP=1 -f this-file\n"
      "-- Each migration is one transaction and records itself, as with `parley-migrate up`.\n";
  bool has_history = false;
  for (const Migration& migration : set.migrations()) {
    const absl::string_view up = absl::StripAsciiWhitespace(migration.up);
    absl::StrAppend(&script, "\n-- ", migration.file_name, "\n", BeginSql(lock_timeout), "\n");
    if (!has_history) absl::StrAppend(&script, CreateHistorySql(), "\n");
    absl::StrAppend(&script, up, EndsItsLastStatement(up) ? "\n" : "\n;\n",
                    InsertHistorySql(migration), "\nCOMMIT;\n", kResetSql, "\n");
    has_history = true;
  }
  return script;
}

}  // namespace parley::db
