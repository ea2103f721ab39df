// The original's tables out of the way, and Parley's in their place.
#pragma once

#include "absl/status/status.h"
#include "db/adopt/adopt_options.h"
#include "db/adopt/original_schema.h"
#include "db/adopt/steps.h"
#include "db/migrator/connection.h"
#include "db/migrator/migration_set.h"

namespace parley::adopt {

// All work in the transaction that `connection` is in.

// Keeps everybody else away from those of the original's tables that are there. Tries again for
// options.lock_retry when it had to wait for longer than options.lock_timeout, and tells whom for.
// kLocked (problem.h), naming who has a lock, if they could not be had.
absl::Status LockOriginal(db::Connection& connection, const AdoptOptions& options, Steps& steps);

// Moves tables, sequences, enums and Alembic's table from `public` to a new schema `original`.
absl::Status MoveOriginal(db::Connection& connection, const OriginalSchema& schema);

// Runs the up sections of `set` and records them. ABORTED, naming the file, if one fails.
absl::Status MakeSchema(db::Connection& connection, const db::MigrationSet& set);

}  // namespace parley::adopt
