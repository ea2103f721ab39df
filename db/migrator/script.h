// The migrations as a script, for those who let nobody but their DBA near the database.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/migrator/migration_set.h"

namespace parley::db {

struct ScriptRange {
  std::string from;  // what the database is at; empty: nothing
  std::string to;    // where it is to be; empty: nothing. Older than `from`: the way down
};

// What `up` or `down` runs, for psql -X -f. It writes the history too, and stops at
// once on a database that is not at `from`. kUsage for a version that is not in the set, and for a
// way down that does not exist.
absl::StatusOr<std::string> MigrationScript(const MigrationSet& set, const ScriptRange& range,
                                            absl::Duration lock_timeout);

}  // namespace parley::db
