// Runs a section that cannot be in a transaction: one statement, with the journal written before
// and after it.
//
// What is interrupted stays "running" in the journal. CREATE INDEX CONCURRENTLY and DROP INDEX
// CONCURRENTLY can be taken up again without anybody's help, because the index tells how far they
// came: one that is INVALID is dropped and built again, one that is whole is recorded. Of other
// statements nobody knows; `parley-migrate repair` asks.
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "db/migrator/connection.h"
#include "db/migrator/history.h"
#include "db/migrator/progress.h"
#include "db/migrator/statement_watch.h"

namespace parley::db {

struct OutsideTransaction {
  const Migration& migration;
  Direction direction = Direction::kUp;
  const Section& section;  // of the migration, in this direction; has one statement
  // For statements that keep others out while they wait.
  absl::Duration lock_timeout;
  const ReportProgress& report;
  StatementWatch& watch;
};

// On a connection that has the migration lock and that is in no transaction.
//   kDirty                an earlier attempt was interrupted, or this one failed, and nobody
//                         knows what it did
//   kLocked               a lock was not had within lock_timeout; nothing was done
//   ABORTED               the statement failed and has left nothing
//   INVALID_ARGUMENT      an index without a name
//   UNAVAILABLE, INTERNAL the database
absl::Status RunOutsideTransaction(Connection& connection, const OutsideTransaction& params);

// What CheckHistory and this say of it.
absl::Status InterruptedError(const Interrupted& interrupted);

}  // namespace parley::db
