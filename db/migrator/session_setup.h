// What a session of the migrator is set to. What the role or the database has configured may
// neither end a long file nor change what its text means.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/migrator/connection.h"

namespace parley::db {

// Undoes whatever a file has set (but keeps advisory locks, which DISCARD ALL would not), and sets
// what holds for all: schema public, no timeouts, writes allowed, UTC, UTF-8.
absl::Status PrepareSession(Connection& connection);

// Begins a transaction with the same settings, for a session that may not have been prepared, and
// with a bound on the wait for locks; rounded up to milliseconds, zero: no end.
std::string BeginSectionSql(absl::Duration lock_timeout);

// The same without a transaction, for the session.
std::string SessionSettingsSql(absl::Duration lock_timeout);

}  // namespace parley::db
