// Lets one migration at a time run on a database.
//
// The lock is an advisory one of the session: it ends with the connection, so a migrator that dies
// leaves nothing to clear away. It is tried again and again and never waited for inside PostgreSQL,
// because a waiting statement holds a snapshot, and CREATE INDEX CONCURRENTLY of the one who has
// the lock would wait for that: a deadlock.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "db/migrator/connection.h"
#include "db/migrator/progress.h"

namespace parley::db {

// Takes the lock for the session of `connection`. Problem kLocked, naming who has it, if it was
// not free within `wait`; zero tries once. `report` gets one line when there is something to wait
// for, and must be callable.
absl::Status AcquireMigrationLock(Connection& connection, absl::Duration wait,
                                  const ReportProgress& report);

// For scripts: fails if the lock is not free, and gives it back.
std::string TakeLockSql();
std::string GiveLockBackSql();

// FAILED_PRECONDITION if the session does not have the lock; see ReleaseMigrationLock.
absl::Status CheckMigrationLock(Connection& connection);

// FAILED_PRECONDITION if the session did not have it: then a connection pooler has handed our
// statements to several sessions, and the migrations ran unguarded.
absl::Status ReleaseMigrationLock(Connection& connection);

}  // namespace parley::db
