#include "db/migrator/migration_set.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "db/migrator/embedded.h"
#include "db/migrator/read_file.h"

namespace parley::db {

absl::StatusOr<MigrationSet> MigrationSet::FromFiles(const std::vector<MigrationFile>& files) {
  std::vector<Migration> migrations;
  for (const MigrationFile& file : files) {
    PARLEY_ASSIGN_OR_RETURN(Migration migration, ParseMigration(file));
    migrations.push_back(std::move(migration));
  }
  const auto version_less = [](const Migration& a, const Migration& b) {
    return std::tie(a.version, a.file_name) < std::tie(b.version, b.file_name);
  };
  std::sort(migrations.begin(), migrations.end(), version_less);
  const auto twin = std::adjacent_find(
      migrations.begin(), migrations.end(),
      [](const Migration& a, const Migration& b) { return a.version == b.version; });
  if (twin != migrations.end()) {
    return FileError(std::next(twin)->file_name, 1,
                     absl::StrCat("the version is that of ", twin->file_name,
                                  "; give one of the two a later one"));
  }
  return MigrationSet(std::move(migrations));
}

const Migration* MigrationSet::Find(absl::string_view version) const {
  const auto found =
      std::find_if(migrations_.begin(), migrations_.end(),
                   [version](const Migration& migration) { return migration.version == version; });
  return found == migrations_.end() ? nullptr : &*found;
}

absl::StatusOr<MigrationSet> MigrationSet::Embedded() {
  std::vector<MigrationFile> files;
  for (const EmbeddedMigration& file : EmbeddedMigrations()) {
    files.push_back({std::string(file.file_name), std::string(file.text)});
  }
  return FromFiles(files);
}

absl::StatusOr<std::vector<MigrationFile>> ReadMigrationFiles(const std::string& directory) {
  std::vector<MigrationFile> files;
  std::error_code error;
  // The loop's own increment would throw.
  std::filesystem::directory_iterator entry(directory, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::filesystem::path& path = entry->path();
    if (path.extension() != ".sql") continue;
    PARLEY_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
    files.push_back({path.filename().string(), std::move(text)});
  }
  if (error) return absl::NotFoundError(absl::StrCat(directory, ": ", error.message()));
  if (files.empty()) return absl::NotFoundError(absl::StrCat(directory, " has no *.sql files"));
  return files;
}

absl::StatusOr<MigrationSet> MigrationSet::FromDirectory(const std::string& directory) {
  PARLEY_ASSIGN_OR_RETURN(const std::vector<MigrationFile> files, ReadMigrationFiles(directory));
  return FromFiles(files);
}

MigrationSet MigrationSet::Only(const std::set<std::string>& versions) const {
  std::vector<Migration> migrations;
  std::copy_if(migrations_.begin(), migrations_.end(), std::back_inserter(migrations),
               [&](const Migration& migration) { return versions.contains(migration.version); });
  return MigrationSet(std::move(migrations));
}

}  // namespace parley::db
