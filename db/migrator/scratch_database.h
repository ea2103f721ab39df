// A database for a moment, to see what the migrations make.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "db/core/dsn.h"

namespace parley::db {

// Belongs to one thread. Its end clears the database away, whatever happened in it.
class ScratchDatabase {
 public:
  // Makes one beside the database `beside`, empty, with its encoding and collation, and a name of
  // its own: parley_verify_, the time, a random number. First drops those that killed processes
  // have left: named so, older than ten minutes, and nobody connected. PERMISSION_DENIED if the
  // role may not create databases. UNAVAILABLE, INTERNAL: the database.
  static absl::StatusOr<std::unique_ptr<ScratchDatabase>> Make(const Dsn& beside);

  // Takes one that somebody made for the purpose, and empties it in the end. FAILED_PRECONDITION if
  // there is something in it (other than plpgsql). UNAVAILABLE, INTERNAL: the database.
  static absl::StatusOr<std::unique_ptr<ScratchDatabase>> Borrow(const Dsn& dsn);

  // Clears away if ClearAway has not been called.
  ~ScratchDatabase();
  ScratchDatabase(const ScratchDatabase&) = delete;
  ScratchDatabase& operator=(const ScratchDatabase&) = delete;

  const Dsn& dsn() const { return dsn_; }
  const std::string& name() const { return name_; }

  // Drops or empties it, whoever is connected. UNAVAILABLE, INTERNAL: the database, by its name.
  absl::Status ClearAway();

 private:
  ScratchDatabase(std::string name, Dsn dsn, Dsn admin, std::string clear_away_sql);

  const std::string name_;
  const Dsn dsn_;
  const Dsn admin_;             // where clear_away_sql_ is run
  std::string clear_away_sql_;  // empty once it has been
};

}  // namespace parley::db
