// What the commands of parley-migrate have in common: the flags that all take, where the migrations
// and the database are, and how a command says what it has to say.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "db/core/dsn.h"
#include "db/migrator/migration_set.h"
#include "db/migrator/migrator.h"

namespace parley::db {

// A command registers itself with an Add function, which sets `run` when the command is given.
class CommandLine {
 public:
  // The command's own work. Its status becomes the exit code (problem.h).
  std::function<absl::Status()> run;

  // The flags of all commands.
  void AddFlags(CLI::App& app);

  // kUsage if there is no --database-url.
  absl::StatusOr<Dsn> GetDsn() const;

  // The files of --dir, which must be what SUM there says, if there is a SUM; otherwise those built
  // in.
  absl::StatusOr<MigrationSet> LoadSet() const;
  const std::string& directory() const { return directory_; }

  // With a report that prints.
  MigrateOptions GetOptions() const;

  // One line on standard output: `text`, or with --json the object.
  void Print(absl::string_view text, const nlohmann::ordered_json& object) const;
  // `text` as it is, whatever its lines; with --json as the object's "text".
  void PrintText(absl::string_view text) const;
  // What --json says, for what goes wrong before it has been read.
  void set_json(bool is_json) { is_json_ = is_json; }
  // On standard error.
  void PrintError(const absl::Status& status) const;

 private:
  std::string database_url_;
  std::string directory_;
  std::string lock_wait_ = "5m";
  std::string lock_timeout_ = "2s";
  std::string lock_retry_ = "10m";
  bool is_json_ = false;
};

// "version" and "file" of a migration, with an event.
nlohmann::ordered_json EventJson(absl::string_view event, const Migration& migration);

// For CLI11: 500ms, 10s, 5m, as far as PostgreSQL can keep it.
CLI::Validator DurationFlag();
// Of a text that DurationFlag let through.
absl::Duration DurationOf(const std::string& text);

}  // namespace parley::db
