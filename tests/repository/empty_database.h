// Databases without a schema, and directories, for the tests of the migrator.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "db/core/dsn.h"
#include "tests/support/temp_database.h"

namespace parley::testing {

// A database of the test's own, empty or a copy. Dropped at the end, whoever is connected.
class EmptyDatabase {
 public:
  EmptyDatabase() : EmptyDatabase("template0") {}
  // Nobody may be connected to `source`.
  explicit EmptyDatabase(const std::string& source)
      : name_(UniqueName()), dsn_(ClusterDsn().With("dbname", name_)) {
    RunSql(ClusterDsn(), absl::StrCat("CREATE DATABASE ", name_, " TEMPLATE ", source));
  }
  ~EmptyDatabase() { RunSql(ClusterDsn(), absl::StrCat("DROP DATABASE ", name_, " WITH (FORCE)")); }

  EmptyDatabase(const EmptyDatabase&) = delete;
  EmptyDatabase& operator=(const EmptyDatabase&) = delete;

  const db::Dsn& dsn() const { return dsn_; }
  const std::string& name() const { return name_; }
  std::string Sql(const std::string& sql) const { return RunSql(dsn_, sql); }

  // Versions in the history, joined by blanks; "none" if there is no history.
  std::string Versions() const {
    if (Sql("SELECT to_regclass('public.schema_migrations')").empty()) return "none";
    return Sql("SELECT string_agg(version, ' ' ORDER BY version) FROM public.schema_migrations");
  }

  bool HasTable(const std::string& table) const {
    return !Sql(absl::StrCat("SELECT to_regclass('", table, "')")).empty();
  }

 private:
  static std::string UniqueName() {
    static std::atomic<int> next{0};
    return absl::StrCat("mig_", getpid(), "_", next++);
  }

  const std::string name_;
  const db::Dsn dsn_;
};

// A directory of the test's own, removed at the end.
class TempDirectory {
 public:
  TempDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "parley-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TempDirectory() { std::filesystem::remove_all(path_); }

  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  std::string path() const { return path_.string(); }

  // Returns the file's path.
  std::string Write(const std::string& file_name, const std::string& text) const {
    std::ofstream(path_ / file_name, std::ios::binary) << text;
    return (path_ / file_name).string();
  }

 private:
  std::filesystem::path path_;
};

// The text of a migration whose up section is `up`.
inline std::string MigrationText(const std::string& up) {
  return absl::StrCat("-- migrate:up\n", up, "\n-- migrate:down\n");
}

}  // namespace parley::testing
