// PostgreSQL's errors as statuses. The one place that knows SQLSTATEs, and the one that catches
// SOCI's exceptions.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace parley::db {

// What a SQLSTATE means to a caller. The status never holds PostgreSQL's text, which may repeat
// parameter values; only the code and the statement's name.
//   23505                            ALREADY_EXISTS
//   23503                            FAILED_PRECONDITION
//   40001, 40P01, 55P03              ABORTED, reason CONTENTION (IsRetryable for the first two)
//   57014                            DEADLINE_EXCEEDED
//   08*, 53*, 57P*, 25006, empty     UNAVAILABLE, reason DATABASE_UNAVAILABLE
//   everything else                  INTERNAL
absl::Status StatusFromSqlState(absl::string_view sqlstate, absl::string_view statement_name);

// True for the statuses of a serialization failure or a deadlock: the transaction may be run again.
bool IsRetryable(const absl::Status& status);

// True if the connection is of no use any more.
bool IsConnectionLost(const absl::Status& status);

// Runs `body` and turns what SOCI throws into a status. `statement_name` is for the text.
absl::Status Guard(absl::string_view statement_name, const std::function<void()>& body);

}  // namespace parley::db
