// Whether a file is the backup that an adoption wants to see first.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace parley::adopt {

// `path` must be what pg_dump writes, whole, and hold the rows of the original's four tables in
// schema public: plain text, which is read through, or another of its formats, which pg_restore of
// the PATH reads through. Blocks for as long as that takes.
//   NOT_FOUND            there is no such file, or it cannot be read
//   FAILED_PRECONDITION  it is none, is cut off or lacks a table; or there is no pg_restore
absl::Status CheckBackupFile(const std::string& path);

}  // namespace parley::adopt
