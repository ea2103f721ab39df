#include "db/core/db_error.h"

#include <soci/postgresql/soci-postgresql.h>

#include <array>
#include <exception>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace parley::db {
namespace {

// Marks what IsRetryable looks for: contention that running the transaction again may get past.
constexpr absl::string_view kRetryableKey = "parley/db-retryable";

bool IsUnavailable(absl::string_view sqlstate) {
  // 26000 and 0A000: a statement prepared on this connection is gone or outdated; a new connection
  // prepares it again.
  constexpr std::array<absl::string_view, 3> kCodes = {"25006", "26000", "0A000"};
  for (const absl::string_view code : kCodes) {
    if (sqlstate == code) return true;
  }
  return sqlstate.empty() || absl::StartsWith(sqlstate, "08") || absl::StartsWith(sqlstate, "53") ||
         absl::StartsWith(sqlstate, "57P");
}

}  // namespace

absl::Status StatusFromSqlState(absl::string_view sqlstate, absl::string_view statement_name) {
  const std::string detail = absl::StrCat("SQLSTATE ", sqlstate, " in ", statement_name);
  if (sqlstate == "40001" || sqlstate == "40P01" || sqlstate == "55P03") {
    absl::Status status = Error(absl::StatusCode::kAborted, reason::kContention,
                                "the write met others on the same rows; try again");
    if (sqlstate != "55P03") status.SetPayload(kRetryableKey, absl::Cord());
    return status;
  }
  if (sqlstate == "57014") {
    return Error(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded,
                 "the deadline passed while the database was working");
  }
  if (IsUnavailable(sqlstate)) {
    return WithRetryDelay(Error(absl::StatusCode::kUnavailable, reason::kDatabaseUnavailable,
                                "the database is not available"),
                          absl::Milliseconds(200));
  }
  if (sqlstate == "23505") {
    return Error(absl::StatusCode::kAlreadyExists, reason::kInternal, detail);
  }
  if (sqlstate == "23503") {
    return Error(absl::StatusCode::kFailedPrecondition, reason::kInternal, detail);
  }
  return InternalError(detail);
}

bool IsRetryable(const absl::Status& status) {
  return status.GetPayload(kRetryableKey).has_value();
}

bool IsConnectionLost(const absl::Status& status) {
  return status.code() == absl::StatusCode::kUnavailable &&
         DetailsOf(status).reason == reason::kDatabaseUnavailable;
}

absl::Status Guard(absl::string_view statement_name, const std::function<void()>& body) {
  try {
    body();
    return absl::OkStatus();
  } catch (const soci::postgresql_soci_error& error) {
    return StatusFromSqlState(error.sqlstate(), statement_name);
  } catch (const soci::soci_error& error) {
    // Not what(): that repeats the parameter values.
    return InternalError(absl::StrCat(error.get_error_message(), " in ", statement_name));
  } catch (const std::exception& error) {
    return InternalError(absl::StrCat(error.what(), " in ", statement_name));
  }
}

}  // namespace parley::db
