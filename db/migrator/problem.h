// What kinds of failure the migrator tells apart, beyond a status code: those that a script wants
// to see in the exit code.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace parley::db {

// The values are the exit codes of parley-migrate.
enum class Problem {
  kNone = 0,
  kError = 1,       // any other
  kUsage = 2,       // what was asked for makes no sense
  kPending = 3,     // migrations are pending; only where that was asked for
  kMismatch = 4,    // files, history and database do not belong together
  kLocked = 5,      // another session kept a lock
  kDirty = 6,       // a migration outside a transaction was interrupted
  kOutOfOrder = 7,  // a pending file is older than an applied one
};

// A status that carries the problem. Its code: INVALID_ARGUMENT for kUsage, DEADLINE_EXCEEDED for
// kLocked, else FAILED_PRECONDITION.
absl::Status ProblemError(Problem problem, absl::string_view text);

// Where an error is, and PostgreSQL's code for it. What is not known is empty or 0.
struct ErrorPlace {
  std::string file;
  std::int32_t line = 0;    // from 1
  std::int32_t column = 0;  // from 1, in code points
  std::string sqlstate;
};

// The same status, which carries the place too; its text is the caller's affair.
absl::Status WithPlace(absl::Status status, const ErrorPlace& place);
// Of a status that carries none, an empty one.
ErrorPlace PlaceOf(const absl::Status& status);

// "file:line:column", as far as it is known.
std::string ToString(const ErrorPlace& place);

// kNone for OK; kError for a status that carries none.
Problem ProblemOf(const absl::Status& status);

}  // namespace parley::db
