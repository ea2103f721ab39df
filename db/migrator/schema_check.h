// Whether a database's schema is the one that this release was written for.
#pragma once

#include "absl/status/status.h"
#include "db/migrator/connection.h"
#include "db/migrator/history.h"

namespace parley::db {

// OK if exactly the migrations built into this binary are applied. FAILED_PRECONDITION, with the
// command or the release that mends it, if some are missing (behind) or others are there (ahead).
// Also the errors of ReadHistory.
absl::Status CheckSchema(Connection& connection);

// The judgement alone.
absl::Status JudgeSchema(const SchemaState& state);

}  // namespace parley::db
