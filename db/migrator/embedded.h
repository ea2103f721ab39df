// The files of db/migrations as they were when the binary was built.
#pragma once

#include <span>

#include "absl/strings/string_view.h"

namespace parley::db {

struct EmbeddedMigration {
  absl::string_view file_name;  // without directories
  absl::string_view text;       // the whole file
};

// In the order of the list in db/migrator/CMakeLists.txt. Static; any thread may read it. Defined
// in a source that cmake/EmbedSqlScript.cmake generates.
std::span<const EmbeddedMigration> EmbeddedMigrations();

}  // namespace parley::db
