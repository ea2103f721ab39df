// Waiting for a database, for scripts that start one.
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "db/core/dsn.h"
#include "db/migrator/migration_set.h"

namespace parley::db {

// Until the server accepts connections. Whether the role and the database exist it does not say:
// PQping does not log in. UNAVAILABLE, with the last reason, if it does not within `timeout`; zero
// tries once.
absl::Status WaitForServer(const Dsn& dsn, absl::Duration timeout);

// Until none of `set` is pending, whoever applies them.
//   kPending      some still are after `timeout`; the text names them
//   UNAVAILABLE   the database could not be asked
absl::Status WaitForMigrations(const Dsn& dsn, const MigrationSet& set, absl::Duration timeout);

}  // namespace parley::db
