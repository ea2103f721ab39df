// Histories that other migrators have kept of the same files.
#pragma once

#include "absl/status/status.h"
#include "db/migrator/connection.h"

namespace parley::db {

// For a database without a history of ours, before anything is applied to it. Problem kMismatch if
// goose has applied migrations to it (public.goose_db_version): they would fail, being there; the
// text says how the database is taken over. The same for the tables of the original application.
absl::Status CheckNoOtherHistory(Connection& connection);

}  // namespace parley::db
