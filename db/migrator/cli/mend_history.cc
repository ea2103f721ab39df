// stamp, repair: what puts the history right.
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "db/migrator/cli/commands.h"
#include "db/migrator/mend.h"

namespace parley::db {
namespace {

constexpr char kNothing[] = "none";

absl::Status RunStamp(const CommandLine& line, const std::string& version) {
  PARLEY_ASSIGN_OR_RETURN(const Dsn dsn, line.GetDsn());
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, line.LoadSet());
  return Stamp(dsn, set, version == kNothing ? "" : version, line.GetOptions());
}

absl::Status RunRepair(const CommandLine& line, const RepairParams& params) {
  PARLEY_ASSIGN_OR_RETURN(const Dsn dsn, line.GetDsn());
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, line.LoadSet());
  return Repair(dsn, set, params, line.GetOptions());
}

}  // namespace

void AddStamp(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand(
      "stamp", "record that the schema is at a version, without running anything");
  const auto version = std::make_shared<std::string>();
  command->add_option("version", *version, "a version, or \"none\"")->required();
  command->callback(
      [&line, version] { line.run = [&line, version] { return RunStamp(line, *version); }; });
}

void AddRepair(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand(
      "repair", "accept applied files as they are now; say what became of an interrupted one");
  const auto params = std::make_shared<RepairParams>();
  CLI::Option* done =
      command->add_option("--done", params->done, "this version's statement took effect");
  command->add_option("--undone", params->undone, "this version's statement did not take effect")
      ->excludes(done);
  command->callback(
      [&line, params] { line.run = [&line, params] { return RunRepair(line, *params); }; });
}

}  // namespace parley::db
