// The schema as a text to be read, by pg_dump.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "db/core/dsn.h"

namespace parley::db {

// The statements that make what `dsn` has, and nothing that differs from one run, server or day to
// the next: no data, owners or privileges, no versions of programs, no random keys of psql's
// \restrict, and no tables and schemas that catalog.h leaves out (the migrator's own, partitions of
// one day, what was adopted). So it is equal for equal schemas, as far as they were made in the
// same order. Databases are made by migrations, and not by this: it leaves no history behind.
//
// Runs the pg_dump that PATH has and gives it the password in its environment, where other users of
// the machine do not see it. Blocks.
//   NOT_FOUND             there is no pg_dump; the text says what to install
//   FAILED_PRECONDITION   it is older than the server; the same
//   INTERNAL              it failed, with what it said
//   UNAVAILABLE           the database
absl::StatusOr<std::string> DumpSchema(const Dsn& dsn);

}  // namespace parley::db
