// wait: for scripts that start a database.
#include "db/migrator/wait.h"

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/status_macros.h"
#include "db/migrator/cli/commands.h"

namespace parley::db {
namespace {

struct WaitFlags {
  std::string timeout = "60s";
  std::string what = "server";
};

absl::Status RunWait(const CommandLine& line, const WaitFlags& flags) {
  PARLEY_ASSIGN_OR_RETURN(const Dsn dsn, line.GetDsn());
  const absl::Time deadline = SteadyNow() + DurationOf(flags.timeout);
  PARLEY_RETURN_IF_ERROR(WaitForServer(dsn, deadline - SteadyNow()));
  if (flags.what == "migrations") {
    PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, line.LoadSet());
    PARLEY_RETURN_IF_ERROR(WaitForMigrations(dsn, set, deadline - SteadyNow()));
    line.Print("nothing is pending", {{"event", "migrated"}});
  } else {
    line.Print("the server accepts connections", {{"event", "ready"}});
  }
  return absl::OkStatus();
}

}  // namespace

void AddWait(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand("wait", "wait for the database");
  const auto flags = std::make_shared<WaitFlags>();
  command->add_option("--timeout", flags->timeout, "how long; exit with 1 or 3 after that")
      ->check(DurationFlag())
      ->capture_default_str();
  command
      ->add_option("--for", flags->what,
                   "\"server\": it accepts connections; \"migrations\": and none is pending")
      ->check(CLI::IsMember({"server", "migrations"}))
      ->capture_default_str();
  command->callback(
      [&line, flags] { line.run = [&line, flags] { return RunWait(line, *flags); }; });
}

}  // namespace parley::db
