// What the migrator tells while it works.
#pragma once

#include <functional>
#include <string>

#include "absl/time/time.h"
#include "db/migrator/migration_file.h"

namespace parley::db {

struct Progress {
  std::string event;  // one word: "applied", "waiting", ...; stable, for programs
  std::string text;   // a line for people
  const Migration* migration = nullptr;  // what it is about, if it is about one
  absl::Duration took;                   // of what is done
};

// Called on the thread that works.
using ReportProgress = std::function<void(const Progress&)>;

}  // namespace parley::db
