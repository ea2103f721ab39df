// Runs one section of one migration, and records that it did.
//
// In a transaction, the section, its row of the history and its row of the journal are one: killing
// the migrator at any moment is harmless. Outside one (concurrent_runner.h) the journal is written
// before and after.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/core/dsn.h"
#include "db/migrator/connection.h"
#include "db/migrator/history.h"
#include "db/migrator/problem.h"
#include "db/migrator/progress.h"
#include "db/migrator/statement_watch.h"

namespace parley::db {

struct RunOptions {
  // For a table's lock. A waiting ALTER TABLE makes every later query on the table wait behind it,
  // so this is how long the services may stand still. Rounded up to milliseconds; zero: no end.
  absl::Duration lock_timeout = absl::Seconds(2);
  // How long to try again, with growing rests, when a lock was not had within lock_timeout.
  absl::Duration lock_retry = absl::Minutes(10);
};

// Works on a connection that has the migration lock. One thread.
class SectionRunner {
 public:
  struct Params {
    Dsn dsn;  // for a second connection, which sees who keeps the first waiting
    RunOptions options;
    bool has_history = false;  // History::is_complete
    const ReportProgress& report;
  };
  // The connection and the report must outlive it.
  SectionRunner(Connection& connection, Params params)
      : connection_(connection),
        options_(params.options),
        has_history_(params.has_history),
        report_(params.report),
        watch_(std::move(params.dsn), params.report) {}

  // The history's tables are made, or completed, with the first section that succeeds.
  //   kLocked               a lock was not had in all of lock_retry; the text names who had it
  //   kDirty                interrupted outside a transaction, by whatever
  //   ABORTED               the section failed; the text says where (file:line:column), why, what
  //   to do FAILED_PRECONDITION   the section ended its transaction UNAVAILABLE, INTERNAL the
  //   database
  absl::Status Run(const Migration& migration, Direction direction);

 private:
  struct Attempt {
    const Migration& migration;
    Direction direction = Direction::kUp;
    const Section& section;
  };
  absl::Status RunWithRetries(const Attempt& attempt);
  absl::Status Try(const Attempt& attempt);
  absl::Status EnsureHistory(const Attempt& attempt);
  absl::Status Record(const Attempt& attempt);
  Connection::Outcome RunWatched(const std::string& sql);
  void ReportNotices(const Migration& migration);
  absl::Status TryInTransaction(const Attempt& attempt);
  absl::Status RunInTransaction(const Attempt& attempt);
  absl::StatusOr<std::string> TransactionId();
  absl::Status Commit(const Attempt& attempt);
  absl::Status SectionFailed(const Attempt& attempt, const std::string& transaction,
                             const Connection::Outcome& outcome);
  absl::Status NothingKept(const Attempt& attempt, const ErrorPlace& place, const Result& result);
  void LogFailure(const Attempt& attempt, const absl::Status& status);

  Connection& connection_;
  const RunOptions options_;
  bool has_history_;
  const ReportProgress& report_;
  StatementWatch watch_;
};

// Where the server says that the error is, or the beginning of the statement that
// failed, for it says so of some errors only.
ErrorPlace PlaceOf(const Migration& migration, const Section& section,
                   const Connection::Outcome& outcome);

// Whether the error is another session's lock, or a deadlock, which is as much a matter of the
// moment.
bool IsLockTrouble(absl::string_view sqlstate);

// What to do about an error of this SQLSTATE.
std::string AdviceFor(absl::string_view sqlstate, Direction direction);

}  // namespace parley::db
