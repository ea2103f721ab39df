#include "db/migrator/section_runner.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "db/migrator/concurrent_section.h"
#include "db/migrator/migration_lock.h"
#include "db/migrator/problem.h"
#include "db/migrator/session_setup.h"
#include "db/migrator/sql_text.h"

namespace parley::db {
namespace {

// Stands where the file would, in what is said of the history's own statements.
constexpr char kHistoryName[] = "the history, public.schema_migrations";

constexpr absl::Duration kLookEvery = absl::Milliseconds(500);
constexpr absl::Duration kFirstRest = absl::Milliseconds(100);
constexpr absl::Duration kLongestRest = absl::Seconds(10);

absl::Status EndedTransaction(const Migration& migration) {
  return absl::FailedPreconditionError(absl::StrCat(
      migration.file_name,
      ": the file ended the transaction that it runs in. Part of it may have stayed, and it is not "
      "recorded. Take COMMIT, ROLLBACK and the like out of the file, undo by hand what stayed, and "
      "run `parley-migrate` again."));
}

}  // namespace

bool IsLockTrouble(absl::string_view sqlstate) {
  return sqlstate == "55P03" || sqlstate == "40P01";
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

ErrorPlace PlaceOf(const Migration& migration, const Section& section,
                   const Connection::Outcome& outcome) {
  ErrorPlace place = {.file = migration.file_name,
                      .sqlstate = std::string(SqlStateOf(outcome.result))};
  const char* field = PQresultErrorField(outcome.result.get(), PG_DIAG_STATEMENT_POSITION);
  std::int32_t position = 0;
  if (field == nullptr || !absl::SimpleAtoi(field, &position)) {
    const absl::StatusOr<std::vector<SqlStatement>> statements = SplitStatements(section.sql);
    const auto index = static_cast<std::size_t>(outcome.statements_done);
    if (!statements.ok() || index >= statements->size()) return place;
    const std::string before = section.sql.substr(0, (*statements)[index].offset);
    position = static_cast<std::int32_t>(CountCodePoints(before).value_or(0)) + 1;
  }
  const FilePosition found = LocateInFile(section, position);
  place.line = found.line;
  place.column = found.column;
  return place;
}

absl::Status SectionRunner::Run(const Migration& migration, Direction direction) {
  PARLEY_RETURN_IF_ERROR(CheckMigrationLock(connection_));
  PARLEY_RETURN_IF_ERROR(PrepareSession(connection_));
  const absl::Time start = SteadyNow();
  const bool is_up = direction == Direction::kUp;
  const Attempt attempt{migration, direction, is_up ? migration.up : migration.down};
  absl::Status status = RunWithRetries(attempt);
  ReportNotices(migration);
  if (!status.ok()) {
    if (attempt.section.is_transactional) LogFailure(attempt, status);
    return status;
  }
  const absl::Duration took = SteadyNow() - start;
  report_({.event = is_up ? "applied" : "undone",
           .text = absl::StrCat(is_up ? "applied " : "undone ", migration.file_name, " in ",
                                absl::ToInt64Milliseconds(took), " ms"),
           .migration = &migration,
           .took = took});
  return absl::OkStatus();
}

// A database without a history is left without a trace. That the journal cannot be written is not
// what the caller has to know about.
void SectionRunner::LogFailure(const Attempt& attempt, const absl::Status& status) {
  if (connection_.IsLost()) return;
  const absl::StatusOr<History> history = ReadHistory(connection_);
  if (!history.ok() || !history->is_complete) return;
  // What follows it may hold values of rows.
  const absl::string_view first_line = status.message().substr(0, status.message().find('\n'));
  connection_.Run(
      FailedLogSql(attempt.migration, attempt.direction, connection_.QuoteLiteral(first_line)));
}

absl::Status SectionRunner::RunWithRetries(const Attempt& attempt) {
  absl::Time deadline = absl::InfiniteFuture();
  absl::BitGen random;
  for (absl::Duration rest = kFirstRest;; rest = std::min(rest * 2, kLongestRest)) {
    absl::Status status = Try(attempt);
    if (ProblemOf(status) != Problem::kLocked) return status;
    deadline = std::min(deadline, SteadyNow() + options_.lock_retry);
    const absl::Duration left = deadline - SteadyNow();
    if (left <= absl::ZeroDuration()) return status;
    const absl::Duration pause = std::min(left, rest * absl::Uniform(random, 0.5, 1.0));
    report_({.event = "retrying",
             .text = absl::StrCat(attempt.migration.file_name, ": no lock within ",
                                  absl::FormatDuration(options_.lock_timeout), "; trying again in ",
                                  absl::ToInt64Milliseconds(pause), " ms"),
             .migration = &attempt.migration});
    absl::SleepFor(pause);
  }
}

absl::Status SectionRunner::Try(const Attempt& attempt) {
  watch_.Begin(connection_.BackendPid(), attempt.migration);
  if (attempt.section.is_transactional) return TryInTransaction(attempt);
  if (!has_history_) {
    PARLEY_RETURN_IF_ERROR(connection_.Execute(BeginSectionSql(options_.lock_timeout)));
    absl::Status made = EnsureHistory(attempt);
    if (made.ok()) made = Commit(attempt);
    if (!made.ok()) {
      if (!connection_.IsLost()) connection_.Run("ROLLBACK");
      return made;
    }
    has_history_ = true;
  }
  return RunOutsideTransaction(connection_, {.migration = attempt.migration,
                                             .direction = attempt.direction,
                                             .section = attempt.section,
                                             .lock_timeout = options_.lock_timeout,
                                             .report = report_,
                                             .watch = watch_});
}

absl::Status SectionRunner::TryInTransaction(const Attempt& attempt) {
  PARLEY_RETURN_IF_ERROR(connection_.Execute(BeginSectionSql(options_.lock_timeout)));
  absl::Status status = RunInTransaction(attempt);
  if (status.ok()) has_history_ = true;
  // After a lost connection the server does this by itself.
  if (!connection_.IsLost() && connection_.TransactionStatus() != PQTRANS_IDLE) {
    connection_.Run("ROLLBACK");
  }
  return status;
}

absl::Status SectionRunner::RunInTransaction(const Attempt& attempt) {
  const Migration& migration = attempt.migration;
  // With the first file, so that a first file that fails leaves an empty database.
  if (!has_history_) PARLEY_RETURN_IF_ERROR(EnsureHistory(attempt));
  PARLEY_ASSIGN_OR_RETURN(const std::string transaction, TransactionId());
  const Connection::Outcome outcome = RunWatched(attempt.section.sql);
  if (!Succeeded(outcome.result)) return SectionFailed(attempt, transaction, outcome);
  if (connection_.TransactionStatus() != PQTRANS_INTRANS) return EndedTransaction(migration);
  // COMMIT; BEGIN leaves us in a transaction, but in another one.
  PARLEY_ASSIGN_OR_RETURN(const std::string transaction_now, TransactionId());
  if (transaction_now != transaction) return EndedTransaction(migration);
  PARLEY_RETURN_IF_ERROR(Record(attempt));
  return Commit(attempt);
}

// Only where something is missing: its lock would keep out all who read the history, for as long as
// the section takes.
absl::Status SectionRunner::EnsureHistory(const Attempt& attempt) {
  const Connection::Outcome outcome = RunWatched(EnsureHistorySql());
  if (Succeeded(outcome.result)) return absl::OkStatus();
  return NothingKept(attempt,
                     {.file = kHistoryName, .sqlstate = std::string(SqlStateOf(outcome.result))},
                     outcome.result);
}

// As whoever connected, whatever role the section has taken.
absl::Status SectionRunner::Record(const Attempt& attempt) {
  const std::string sql = attempt.direction == Direction::kUp ? RecordUpSql(attempt.migration)
                                                              : RecordDownSql(attempt.migration);
  const Result result =
      connection_.Run(absl::StrCat("RESET SESSION AUTHORIZATION;\nRESET ROLE;\n", sql));
  if (Succeeded(result)) return absl::OkStatus();
  return NothingKept(attempt, {.file = kHistoryName, .sqlstate = std::string(SqlStateOf(result))},
                     result);
}

Connection::Outcome SectionRunner::RunWatched(const std::string& sql) {
  // Two looks before a lock is given up.
  const absl::Duration period = options_.lock_timeout > absl::ZeroDuration()
                                    ? std::min(kLookEvery, options_.lock_timeout / 3)
                                    : kLookEvery;
  return connection_.RunWatched(sql, std::max(period, absl::Milliseconds(20)),
                                [this] { watch_.Look(); });
}

void SectionRunner::ReportNotices(const Migration& migration) {
  for (const std::string& notice : connection_.TakeNotices()) {
    report_({.event = "notice",
             .text = absl::StrCat(migration.file_name, ": ", notice),
             .migration = &migration});
  }
}

absl::StatusOr<std::string> SectionRunner::TransactionId() {
  PARLEY_ASSIGN_OR_RETURN(const Result id, connection_.Query("SELECT pg_catalog.txid_current()"));
  return std::string(FieldOf(id, 0, 0));
}

absl::Status SectionRunner::Commit(const Attempt& attempt) {
  const Result result = connection_.Run("COMMIT");
  if (Succeeded(result)) return absl::OkStatus();
  if (!connection_.IsLost()) {
    return NothingKept(
        attempt, {.file = attempt.migration.file_name, .sqlstate = std::string(SqlStateOf(result))},
        result);
  }
  return absl::UnavailableError(absl::StrCat(
      attempt.migration.file_name,
      ": the connection was lost during the commit, so the file may be applied or not; "
      "running `parley-migrate` again finds out and goes on. ",
      ErrorTextOf(result)));
}

absl::Status SectionRunner::SectionFailed(const Attempt& attempt, const std::string& transaction,
                                          const Connection::Outcome& outcome) {
  const Result& result = outcome.result;
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
      const Result fate,
      connection_.Query(absl::StrCat("SELECT pg_catalog.txid_status(", transaction, ")")));
  const ErrorPlace place = PlaceOf(attempt.migration, attempt.section, outcome);
  if (!is_outside && FieldOf(fate, 0, 0) == "aborted") {
    return NothingKept(attempt, place, result);
  }
  return WithPlace(
      absl::FailedPreconditionError(absl::StrCat(ToString(place), ": ", ErrorTextOf(result), "\n",
                                                 EndedTransaction(attempt.migration).message())),
      place);
}

absl::Status SectionRunner::NothingKept(const Attempt& attempt, const ErrorPlace& place,
                                        const Result& result) {
  const absl::string_view sqlstate = SqlStateOf(result);
  const bool is_locked = IsLockTrouble(sqlstate);
  const std::string blockers =
      is_locked && !watch_.blockers().empty() ? absl::StrCat(watch_.blockers(), ". ") : "";
  const std::string text =
      absl::StrCat(ToString(place), ": ", ErrorTextOf(result), "\n", blockers,
                   "Nothing of this file was kept. ", AdviceFor(sqlstate, attempt.direction));
  return WithPlace(is_locked ? ProblemError(Problem::kLocked, text) : absl::AbortedError(text),
                   place);
}

}  // namespace parley::db
