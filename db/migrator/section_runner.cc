#include "db/migrator/section_runner.h"

#include <algorithm>
#include <cstdint>

#include "absl/random/random.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "db/migrator/concurrent_section.h"
#include "db/migrator/migration_lock.h"
#include "db/migrator/problem.h"

namespace parley::db {
namespace {

constexpr absl::Duration kLookEvery = absl::Milliseconds(500);
constexpr absl::Duration kFirstRest = absl::Milliseconds(100);
constexpr absl::Duration kLongestRest = absl::Seconds(10);

// Lets the server notice within seconds that the migrator was killed, even in the middle of a long
// statement; otherwise its lock would outlive it for as long as that runs. Servers before 14 do not
// have the setting.
constexpr absl::string_view kNoticeDeathSql =
    "SELECT pg_catalog.set_config(name, '2s', false) FROM pg_catalog.pg_settings"
    " WHERE name = 'client_connection_check_interval'";

std::int64_t MillisecondsOf(absl::Duration duration) {
  return absl::ToInt64Milliseconds(absl::Ceil(duration, absl::Milliseconds(1)));
}

// A deadlock with a service's transaction is as much a matter of the moment as a lock.
bool IsLockTrouble(absl::string_view sqlstate) {
  return sqlstate == "55P03" || sqlstate == "40P01";
}

absl::Status EndedTransaction(const Migration& migration) {
  return absl::FailedPreconditionError(absl::StrCat(
      migration.file_name,
      ": the file ended the transaction that it runs in. Part of it may have stayed, and it is not "
      "recorded. Take COMMIT, ROLLBACK and the like out of the file, undo by hand what stayed, and "
      "run `parley-migrate` again."));
}

}  // namespace

std::string BeginSectionSql(absl::Duration lock_timeout) {
  return absl::StrCat(
      "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;\n"
      "SET LOCAL lock_timeout = ",
      MillisecondsOf(lock_timeout),
      ";\n"
      "SET LOCAL statement_timeout = 0;\n"
      "SET LOCAL idle_in_transaction_session_timeout = 0;\n"
      "SET LOCAL client_encoding = 'UTF8';");
}

absl::string_view ResetSessionSql() {
  // Not DISCARD ALL, which would give the lock back.
  return "RESET SESSION AUTHORIZATION;\nRESET ROLE;\nRESET ALL;";
}

std::string AdviceFor(absl::string_view sqlstate, Direction direction) {
  const std::string command = absl::StrCat("`parley-migrate ", DirectionName(direction), "`");
  if (IsLockTrouble(sqlstate)) {
    return absl::StrCat(
        "Run ", command,
        " again at a quieter time, or with a longer --lock-timeout or --lock-retry.");
  }
  if (sqlstate == "42501") {
    return absl::StrCat("Give the role the privilege, or run ", command, " as the schema's owner.");
  }
  return absl::StrCat("Correct the cause and run ", command, " again.");
}

std::string PlaceOf(const Migration& migration, const Section& section, const Result& result) {
  const char* field = PQresultErrorField(result.get(), PG_DIAG_STATEMENT_POSITION);
  std::int32_t position = 0;
  if (field == nullptr || !absl::SimpleAtoi(field, &position)) return migration.file_name;
  const FilePosition found = LocateInFile(section, position);
  return absl::StrCat(migration.file_name, ":", found.line, ":", found.column);
}

absl::Status SectionRunner::Run(const Migration& migration, Direction direction) {
  PARLEY_RETURN_IF_ERROR(CheckMigrationLock(connection_));
  PARLEY_RETURN_IF_ERROR(ResetSession());
  watch_.Begin(connection_.BackendPid(), migration);
  const absl::Time start = SteadyNow();
  const bool is_up = direction == Direction::kUp;
  const Attempt attempt{migration, direction, is_up ? migration.up : migration.down};
  if (attempt.section.is_transactional) {
    absl::Status status = RunWithRetries(attempt);
    if (!status.ok()) LogFailure(attempt, status);
    PARLEY_RETURN_IF_ERROR(status);
  } else {
    PARLEY_RETURN_IF_ERROR(RunOutsideTransaction(connection_, {.migration = migration,
                                                               .direction = direction,
                                                               .section = attempt.section,
                                                               .report = report_,
                                                               .look = [this] { watch_.Look(); }}));
  }
  const absl::Duration took = SteadyNow() - start;
  report_({.event = is_up ? "applied" : "undone",
           .text = absl::StrCat(is_up ? "applied " : "undone ", migration.file_name, " in ",
                                absl::ToInt64Milliseconds(took), " ms"),
           .migration = &migration,
           .took = took});
  return absl::OkStatus();
}

absl::Status SectionRunner::ResetSession() {
  return connection_.Execute(absl::StrCat(ResetSessionSql(), "\n", kNoticeDeathSql));
}

// A database without a history is left without a trace. That the journal cannot be written is not
// what the caller has to know about.
void SectionRunner::LogFailure(const Attempt& attempt, const absl::Status& status) {
  if (connection_.IsLost()) return;
  const absl::StatusOr<History> history = ReadHistory(connection_);
  if (!history.ok() || !history->is_complete) return;
  connection_.Run(FailedLogSql(attempt.migration, attempt.direction,
                               connection_.QuoteLiteral(status.message())));
}

absl::Status SectionRunner::RunWithRetries(const Attempt& attempt) {
  const absl::Time deadline = SteadyNow() + options_.lock_retry;
  absl::BitGen random;
  for (absl::Duration rest = kFirstRest;; rest = std::min(rest * 2, kLongestRest)) {
    absl::Status status = TryInTransaction(attempt);
    const absl::Duration left = deadline - SteadyNow();
    if (ProblemOf(status) != Problem::kLocked || left <= absl::ZeroDuration()) return status;
    const absl::Duration pause = std::min(left, rest * absl::Uniform(random, 0.5, 1.0));
    report_({.event = "retrying",
             .text = absl::StrCat(attempt.migration.file_name, ": no lock within ",
                                  absl::FormatDuration(options_.lock_timeout), "; trying again in ",
                                  absl::ToInt64Milliseconds(pause), " ms"),
             .migration = &attempt.migration});
    absl::SleepFor(pause);
  }
}

absl::Status SectionRunner::TryInTransaction(const Attempt& attempt) {
  PARLEY_RETURN_IF_ERROR(connection_.Execute(BeginSectionSql(options_.lock_timeout)));
  absl::Status status = RunInTransaction(attempt);
  // After a lost connection the server does this by itself.
  if (!connection_.IsLost() && connection_.TransactionStatus() != PQTRANS_IDLE) {
    connection_.Run("ROLLBACK");
  }
  return status;
}

absl::Status SectionRunner::RunInTransaction(const Attempt& attempt) {
  const Migration& migration = attempt.migration;
  // With the first file, so that a first file that fails leaves an empty database.
  const Result history = connection_.Run(EnsureHistorySql());
  if (!Succeeded(history)) return NothingKept(attempt, migration.file_name, history);
  PARLEY_ASSIGN_OR_RETURN(const std::string transaction, TransactionId());
  // Two looks before a lock is given up.
  const absl::Duration period = options_.lock_timeout > absl::ZeroDuration()
                                    ? std::min(kLookEvery, options_.lock_timeout / 3)
                                    : kLookEvery;
  const Result result = connection_.RunWatched(
      attempt.section.sql, std::max(period, absl::Milliseconds(20)), [this] { watch_.Look(); });
  if (!Succeeded(result)) return SectionFailed(attempt, transaction, result);
  if (connection_.TransactionStatus() != PQTRANS_INTRANS) return EndedTransaction(migration);
  // COMMIT; BEGIN leaves us in a transaction, but in another one.
  PARLEY_ASSIGN_OR_RETURN(const std::string transaction_now, TransactionId());
  if (transaction_now != transaction) return EndedTransaction(migration);
  PARLEY_RETURN_IF_ERROR(connection_.Execute(
      attempt.direction == Direction::kUp ? RecordUpSql(migration) : RecordDownSql(migration)));
  return Commit(attempt);
}

absl::StatusOr<std::string> SectionRunner::TransactionId() {
  PARLEY_ASSIGN_OR_RETURN(const Result id, connection_.Query("SELECT pg_catalog.txid_current()"));
  return std::string(FieldOf(id, 0, 0));
}

absl::Status SectionRunner::Commit(const Attempt& attempt) {
  const Result result = connection_.Run("COMMIT");
  if (Succeeded(result)) return absl::OkStatus();
  if (!connection_.IsLost()) return NothingKept(attempt, attempt.migration.file_name, result);
  return absl::UnavailableError(absl::StrCat(
      attempt.migration.file_name,
      ": the connection was lost during the commit, so the file may be applied or not; "
      "running `parley-migrate` again finds out and goes on. ",
      ErrorTextOf(result)));
}

absl::Status SectionRunner::SectionFailed(const Attempt& attempt, const std::string& transaction,
                                          const Result& result) {
  if (connection_.IsLost()) {
    return absl::UnavailableError(absl::StrCat(
        attempt.migration.file_name, ": the connection was lost; running `parley-migrate` again ",
        "goes on with this file. ", ErrorTextOf(result)));
  }
  // The error came in our transaction, in none, or in one that the file began; the server knows
  // what became of ours.
  const bool is_outside = connection_.TransactionStatus() == PQTRANS_IDLE;
  if (!is_outside) connection_.Run("ROLLBACK");
  PARLEY_ASSIGN_OR_RETURN(
      const Result outcome,
      connection_.Query(absl::StrCat("SELECT pg_catalog.txid_status(", transaction, ")")));
  const std::string place = PlaceOf(attempt.migration, attempt.section, result);
  if (!is_outside && FieldOf(outcome, 0, 0) == "aborted") {
    return NothingKept(attempt, place, result);
  }
  return absl::FailedPreconditionError(absl::StrCat(place, ": ", ErrorTextOf(result), "\n",
                                                    EndedTransaction(attempt.migration).message()));
}

absl::Status SectionRunner::NothingKept(const Attempt& attempt, const std::string& place,
                                        const Result& result) {
  const absl::string_view sqlstate = SqlStateOf(result);
  const bool is_locked = IsLockTrouble(sqlstate);
  const std::string blockers =
      is_locked && !watch_.blockers().empty() ? absl::StrCat(watch_.blockers(), ". ") : "";
  const std::string text =
      absl::StrCat(place, ": ", ErrorTextOf(result), "\n", blockers,
                   "Nothing of this file was kept. ", AdviceFor(sqlstate, attempt.direction));
  return is_locked ? ProblemError(Problem::kLocked, text) : absl::AbortedError(text);
}

}  // namespace parley::db
