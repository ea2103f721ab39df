// Whether a release can work on a database's schema.
#pragma once

#include "absl/status/status.h"
#include "db/migrator/connection.h"
#include "db/migrator/history.h"

namespace parley::db {

// OK if the migrations built into this binary are applied, and no others, apart from what may be
// one step ahead or behind (phases: migration_file.h):
//   - what it does not know, and the history says is `expand`: a later release has begun;
//   - what is pending, and is `contract`: the schema has yet to follow this release.
// FAILED_PRECONDITION, with the command or the release that mends it, for all else. Also the errors
// of ReadHistory.
absl::Status CheckSchema(Connection& connection);

// The judgement alone.
absl::Status JudgeSchema(const SchemaState& state);

}  // namespace parley::db
