// Runs a section that cannot be in a transaction: one statement, with the journal written before
// and after it.
//
// What is interrupted stays "running" in the journal. CREATE INDEX CONCURRENTLY and DROP INDEX
// CONCURRENTLY can be taken up again without anybody's help, because the index tells how far they
// came: one that is INVALID is dropped and built again, one that is whole is recorded. Of other
// statements nobody knows; `parley-migrate repair` asks.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "db/migrator/connection.h"
#include "db/migrator/history.h"
#include "db/migrator/progress.h"

namespace parley::db {

struct OutsideTransaction {
  const Migration& migration;
  Direction direction = Direction::kUp;
  const Section& section;  // of the migration, in this direction; has one statement
  const ReportProgress& report;
  std::function<void()> look;  // called twice a second while the statement runs
};

// On a connection that has the migration lock and that is in no transaction.
//   kDirty                an earlier attempt was interrupted, and nobody knows what it did
//   ABORTED               the statement failed
//   UNAVAILABLE, INTERNAL the database
absl::Status RunOutsideTransaction(Connection& connection, const OutsideTransaction& params);

// What CheckHistory and this say of it.
absl::Status InterruptedError(const Interrupted& interrupted);

}  // namespace parley::db
