// A named SQL statement. All of them come from db/repository/sql/*.sql, one `-- name: X` each, and
// are built into the code; nothing else in the suite holds SQL.
#pragma once

#include "absl/strings/string_view.h"

namespace parley::db {

// Immutable and static: the address identifies the statement in the per-session cache.
struct Statement {
  absl::string_view name;  // "chat.InsertChat": file and name
  const char* sql;  // begins with /* name */, so that the server's views show it; :x parameters
};

}  // namespace parley::db
