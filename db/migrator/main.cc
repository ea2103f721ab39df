// parley-migrate: the schema's command line. Exit codes: 0 done or nothing to do, 1 error, 2 usage,
// 3 migrations are pending (status --check), 5 another migrator kept the lock.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "db/core/dsn.h"
#include "db/migrator/connection.h"
#include "db/migrator/history.h"
#include "db/migrator/migration_set.h"
#include "db/migrator/migrator.h"

namespace parley::db {
namespace {

enum ExitCode { kDone = 0, kFailed = 1, kUsage = 2, kPending = 3, kLocked = 5 };

struct Flags {
  std::string database_url;
  std::string directory;  // empty: the files built in
  std::string lock_wait = "5m";
  std::string lock_timeout = "5s";
  bool check = false;
};

void PrintLine(absl::string_view line) {
  std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
  std::fflush(stdout);  // progress is of use only at once
}

absl::StatusOr<MigrationSet> LoadSet(const Flags& flags) {
  return flags.directory.empty() ? MigrationSet::Embedded()
                                 : MigrationSet::FromDirectory(flags.directory);
}

absl::Duration DurationOf(const std::string& text) {
  absl::Duration duration;
  absl::ParseDuration(text, &duration);  // checked when the flags were read
  return duration;
}

absl::StatusOr<History> ReadHistoryOf(const Flags& flags) {
  PARLEY_ASSIGN_OR_RETURN(const Dsn dsn, Dsn::Parse(flags.database_url));
  PARLEY_ASSIGN_OR_RETURN(Connection connection,
                          Connection::Open(dsn.WithDefault("application_name", "parley-migrate")));
  return ReadHistory(connection);
}

absl::StatusOr<ExitCode> Up(const Flags& flags) {
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, LoadSet(flags));
  PARLEY_ASSIGN_OR_RETURN(const Dsn dsn, Dsn::Parse(flags.database_url));
  bool has_reported = false;
  MigrateOptions options{.lock_wait = DurationOf(flags.lock_wait),
                         .lock_timeout = DurationOf(flags.lock_timeout),
                         .report = [&](absl::string_view line) {
                           has_reported = true;
                           PrintLine(line);
                         }};
  PARLEY_RETURN_IF_ERROR(MigrateUp(dsn, set, options));
  if (!has_reported) PrintLine("nothing to do");
  return kDone;
}

absl::StatusOr<ExitCode> Status(const Flags& flags) {
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, LoadSet(flags));
  PARLEY_ASSIGN_OR_RETURN(const History history, ReadHistoryOf(flags));
  const SchemaState state = CompareSchema(set, history);
  for (const Migration* migration : state.applied) PrintLine("applied  " + migration->file_name);
  for (const Migration* migration : state.pending) PrintLine("pending  " + migration->file_name);
  for (const std::string& version : state.unknown) PrintLine("unknown  " + version);
  if (!flags.check) return kDone;
  if (!state.pending.empty()) return kPending;
  if (!state.unknown.empty()) {
    return absl::FailedPreconditionError("the database has migrations that are not known here");
  }
  return kDone;
}

absl::StatusOr<ExitCode> Version(const Flags& flags) {
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, LoadSet(flags));
  PARLEY_ASSIGN_OR_RETURN(const History history, ReadHistoryOf(flags));
  PrintLine("database  " + (history.versions.empty() ? "none" : history.versions.back()));
  PrintLine((flags.directory.empty() ? "built in  " : "directory ") +
            set.migrations().back().version);
  return kDone;
}

absl::StatusOr<ExitCode> Sql(const Flags& flags) {
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, LoadSet(flags));
  const std::string script = UpScript(set, DurationOf(flags.lock_timeout));
  std::fwrite(script.data(), 1, script.size(), stdout);
  if (std::fflush(stdout) != 0) return absl::DataLossError("the script could not be written");
  return kDone;
}

// CLI11's checks return what is wrong, or nothing.
std::string CheckDuration(const std::string& text) {
  absl::Duration duration;
  const bool is_duration = absl::ParseDuration(text, &duration);
  // PostgreSQL keeps its timeouts as 32-bit milliseconds.
  if (is_duration && duration >= absl::ZeroDuration() && duration <= absl::Hours(24 * 20))
    return "";
  return text + " is not a time such as 500ms, 10s or 5m";
}

void AddFlags(CLI::App& app, Flags& flags) {
  app.add_option("--database-url", flags.database_url,
                 "libpq URI or key=value pairs; others can see a command line, so a password is "
                 "better in the environment")
      ->envname("PARLEY_DATABASE_URL");
  app.add_option("--dir", flags.directory,
                 "use the *.sql files of this directory, not those built in");
  app.add_option("--lock-wait", flags.lock_wait, "how long to wait for other migrators")
      ->check(CLI::Validator(CheckDuration, "TIME"))
      ->capture_default_str();
  app.add_option("--lock-timeout", flags.lock_timeout,
                 "how long to wait for a table's lock; 0: for ever")
      ->check(CLI::Validator(CheckDuration, "TIME"))
      ->capture_default_str();
}

int Fail(const absl::Status& status) {
  const absl::string_view text = status.message();
  std::fprintf(stderr, "parley-migrate: %.*s\n", static_cast<int>(text.size()), text.data());
  return status.code() == absl::StatusCode::kDeadlineExceeded ? kLocked : kFailed;
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Brings the database's schema up to date.", "parley-migrate");
  app.footer(
      "Exit codes: 0 done, 1 error, 2 usage, 3 pending (status --check), 5 lock not obtained");
  app.require_subcommand(1)->fallthrough();
  AddFlags(app, flags);
  absl::StatusOr<ExitCode> (*command)(const Flags&) = nullptr;
  const auto add_command = [&](const char* name, const char* text, auto function) {
    return app.add_subcommand(name, text)->callback([&command, function] { command = function; });
  };
  add_command("up", "apply what is pending", &Up);
  add_command("status", "list applied, pending and unknown migrations", &Status)
      ->add_flag("--check", flags.check, "exit with 3 if migrations are pending, 1 if unknown");
  add_command("version", "print the database's version and the one known here", &Version);
  add_command("sql", "print what `up` runs on an empty database; needs no database", &Sql);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  if (command != &Sql && flags.database_url.empty()) {
    std::fputs("parley-migrate: set PARLEY_DATABASE_URL or give --database-url\n", stderr);
    return kUsage;
  }
  const absl::StatusOr<ExitCode> code = command(flags);
  return code.ok() ? *code : Fail(code.status());
}

}  // namespace
}  // namespace parley::db

int main(int argc, char** argv) { return parley::db::Main(argc, argv); }
