#include "db/migrator/new_migration.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/civil_time.h"
#include "base/status_macros.h"
#include "db/migrator/problem.h"

namespace parley::db {
namespace {

// The moment that 14 digits are; none for what is no version.
absl::CivilSecond MomentOf(absl::string_view file_name) {
  const auto part = [file_name](std::size_t at, std::size_t size) {
    int value = 0;
    return absl::SimpleAtoi(file_name.substr(std::min(at, file_name.size()), size), &value) ? value
                                                                                            : 0;
  };
  return absl::CivilSecond(part(0, 4), part(4, 2), part(6, 2), part(8, 2), part(10, 2),
                           part(12, 2));
}

// The version that follows all files of the directory.
absl::StatusOr<std::string> NextVersion(const NewMigration& migration) {
  absl::CivilSecond next = absl::ToCivilSecond(migration.now, absl::UTCTimeZone());
  const std::string suffix = absl::StrCat("_", migration.name, ".sql");
  std::error_code error;
  std::filesystem::directory_iterator entry(migration.directory, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.size() < 14 || !absl::EndsWith(name, ".sql")) continue;
    if (name.substr(14) == suffix) {
      return ProblemError(Problem::kUsage,
                          absl::StrCat(entry->path().string(), " has that name; think of another"));
    }
    next = std::max(next, MomentOf(name) + 1);
  }
  if (error) return absl::NotFoundError(absl::StrCat(migration.directory, ": ", error.message()));
  return absl::FormatTime("%Y%m%d%H%M%S", absl::FromCivil(next, absl::UTCTimeZone()),
                          absl::UTCTimeZone());
}

std::string TextOf(const NewMigration& migration) {
  const absl::string_view option = migration.is_transactional ? "" : " transaction:false";
  const absl::string_view no_transaction =
      migration.is_transactional ? "" : "-- +goose NO TRANSACTION\n";
  return absl::StrCat("-- ", absl::StrReplaceAll(migration.name, {{"_", " "}}), ": what for?\n",
                      "-- parley:phase ", PhaseName(migration.phase), "\n", no_transaction,
                      "-- migrate:up", option, "\n-- +goose Up\n\n-- migrate:down", option,
                      "\n-- +goose Down\n");
}

}  // namespace

absl::StatusOr<std::string> WriteNewMigration(const NewMigration& migration) {
  if (!IsMigrationName(migration.name)) {
    return ProblemError(Problem::kUsage,
                        absl::StrCat("\"", migration.name,
                                     "\": a name has letters, digits and underscores only, such as "
                                     "messages_by_author"));
  }
  PARLEY_ASSIGN_OR_RETURN(const std::string version, NextVersion(migration));
  const std::string file_name = absl::StrCat(version, "_", migration.name, ".sql");
  const std::string path = (std::filesystem::path(migration.directory) / file_name).string();
  const std::string text = TextOf(migration);
  // Never over a file that is there.
  std::FILE* file = std::fopen(path.c_str(), "wx");
  bool is_written = file != nullptr;
  if (is_written) {
    is_written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
    is_written = std::fclose(file) == 0 && is_written;
  }
  if (!is_written) return absl::InternalError(absl::StrCat(path, " cannot be written"));
  return file_name;
}

}  // namespace parley::db
