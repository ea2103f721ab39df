// The migrations that a release knows: files checked and put in order. No database in here.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "db/migrator/migration_file.h"

namespace parley::db {

// The *.sql files of `directory`, in no order; other files are left alone. NOT_FOUND if it cannot
// be read or has none.
absl::StatusOr<std::vector<MigrationFile>> ReadMigrationFiles(const std::string& directory);

// Migrations in the order of their versions, all different. Immutable, so any thread may read it.
class MigrationSet {
 public:
  // INVALID_ARGUMENT if a file is not right or two have one version.
  static absl::StatusOr<MigrationSet> FromFiles(const std::vector<MigrationFile>& files);

  // The files built into this binary.
  static absl::StatusOr<MigrationSet> Embedded();

  // The *.sql files of `directory`; other files are left alone. NOT_FOUND if it cannot be read or
  // has none. Does not look at SUM.
  static absl::StatusOr<MigrationSet> FromDirectory(const std::string& directory);

  // Those of `versions`.
  MigrationSet Only(const std::set<std::string>& versions) const;

  // Null if there is none of that version.
  const Migration* Find(absl::string_view version) const;

  const std::vector<Migration>& migrations() const { return migrations_; }

 private:
  explicit MigrationSet(std::vector<Migration> migrations) : migrations_(std::move(migrations)) {}
  std::vector<Migration> migrations_;
};

}  // namespace parley::db
