// parley-migrate: the schema's command line. The exit codes are the values of Problem (problem.h).
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "db/migrator/cli/command_line.h"
#include "db/migrator/cli/commands.h"
#include "db/migrator/problem.h"

namespace parley::db {
namespace {

// Ends at once: the server rolls back what runs, and what is outside a transaction is in the
// journal. As the first process of a container the default would be to ignore the signal.
extern "C" void EndOnSignal(int number) {
  constexpr char kText[] =
      "parley-migrate: ended by a signal; the server undoes what was not finished, "
      "`parley-migrate status` tells\n";
  [[maybe_unused]] const auto written = write(STDERR_FILENO, kText, sizeof(kText) - 1);
  _exit(128 + number);
}

int Main(int argc, char** argv) {
  for (const int number : {SIGINT, SIGTERM}) std::signal(number, &EndOnSignal);
  CommandLine line;
  CLI::App app("Brings the database's schema up to date.", "parley-migrate");
  app.footer(
      "Exit codes: 0 done, 1 error, 2 usage, 3 migrations are pending (status --check), 4 files, "
      "history and database do not belong together, 5 lock not obtained, 6 interrupted outside a "
      "transaction, 7 a pending file is older than an applied one");
  app.require_subcommand(1)->fallthrough();
  line.AddFlags(app);
  for (auto* add : {&AddUp, &AddDown, &AddRedo, &AddPlan, &AddStatus, &AddHistory, &AddVersion,
                    &AddStamp, &AddRepair, &AddVerify, &AddDump, &AddWait, &AddSql, &AddSum,
                    &AddNew, &AddLint, &AddAdopt}) {
    add(app, line);
  }
  line.set_json(std::any_of(argv, argv + argc,
                            [](const char* word) { return absl::string_view(word) == "--json"; }));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    line.PrintError(ProblemError(
        Problem::kUsage, absl::StrCat(error.what(), "\nRun with --help for more information.")));
    return static_cast<int>(Problem::kUsage);
  }
  const absl::Status status = line.run();
  if (!status.ok()) line.PrintError(status);
  return static_cast<int>(ProblemOf(status));
}

}  // namespace
}  // namespace parley::db

int main(int argc, char** argv) { return parley::db::Main(argc, argv); }
