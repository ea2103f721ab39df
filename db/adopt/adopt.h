// Takes over a database that the original's models made: its tables move to schema `original`, as
// they are, and Parley's are made and filled from them, all in one transaction.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "db/adopt/adopt_options.h"
#include "db/adopt/comparison.h"
#include "db/adopt/survey.h"
#include "db/core/dsn.h"
#include "db/migrator/migration_set.h"

namespace parley::adopt {

struct Adoption {
  Survey survey;
  bool is_done = false;            // false: the survey says what stops it, and nothing was changed
  std::vector<ComparedRows> rows;  // empty if something stops it
};

// Problems are those of db/migrator/problem.h.

// What Adopt would do, from one snapshot, in a transaction that cannot change anything; is_done is
// false. With no rows to compare with, they say what is expected.
//   kUsage                 a flag: the zone, a label, the language
//   UNAVAILABLE, INTERNAL  the database
absl::StatusOr<Adoption> CheckAdoption(const db::Dsn& dsn, const db::MigrationSet& set,
                                       const AdoptOptions& options);

// All or nothing: what fails, or is killed, leaves the database as it was. Nobody else can use the
// original's tables while it runs. Blocks until it is done.
//   kUsage                 a flag, as above
//   kLocked                a table's lock was not had in all of lock_retry, or another migrator
//                          kept its own for lock_wait; the text names who has it
//   DATA_LOSS              what was copied is not what was there
//   ABORTED                a migration failed
//   UNAVAILABLE, INTERNAL  the database
absl::StatusOr<Adoption> Adopt(const db::Dsn& dsn, const db::MigrationSet& set,
                               const AdoptOptions& options);

}  // namespace parley::adopt
