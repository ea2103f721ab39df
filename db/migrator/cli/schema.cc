// verify, dump: what the schema is.
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "db/migrator/cli/commands.h"
#include "db/migrator/dump.h"
#include "db/migrator/problem.h"
#include "db/migrator/verify.h"

namespace parley::db {
namespace {

absl::string_view KindName(CatalogDifference::Kind kind) {
  switch (kind) {
    case CatalogDifference::Kind::kMissing:
      return "missing";
    case CatalogDifference::Kind::kUnexpected:
      return "unexpected";
    case CatalogDifference::Kind::kChanged:
      break;
  }
  return "changed";
}

absl::Status RunVerify(const CommandLine& line, const std::string& scratch_url) {
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, line.LoadSet());
  PARLEY_ASSIGN_OR_RETURN(const Dsn dsn, line.GetDsn());
  const MigrateOptions common = line.GetOptions();
  VerifyOptions options{.lock_wait = common.lock_wait, .report = common.report};
  if (!scratch_url.empty()) {
    PARLEY_ASSIGN_OR_RETURN(options.scratch, Dsn::Parse(scratch_url));
  }
  PARLEY_ASSIGN_OR_RETURN(const VerifyReport report, VerifySchema(dsn, set, options));
  for (const CatalogDifference& difference : report.differences) {
    line.Print(DescribeDifference(difference), {{"event", KindName(difference.kind)},
                                                {"object", difference.object},
                                                {"expected", difference.expected},
                                                {"found", difference.found}});
  }
  if (!report.differences.empty()) {
    return ProblemError(
        Problem::kMismatch,
        absl::StrCat("the schema differs in ", report.differences.size(),
                     report.differences.size() == 1 ? " object" : " objects", " from what its ",
                     report.applied.size(),
                     " migrations make. Undo by hand what was done by hand, or write a migration "
                     "that does it everywhere; `parley-migrate verify` looks again."));
  }
  line.Print(absl::StrCat("the schema is what its ", report.applied.size(), " migrations make"),
             {{"event", "equal"}, {"migrations", report.applied.size()}});
  return absl::OkStatus();
}

// All of it or nothing.
absl::Status WriteWhole(const std::string& path, const std::string& text) {
  const std::string unfinished = path + ".new";
  std::ofstream stream(unfinished, std::ios::binary | std::ios::trunc);
  stream << text;
  stream.close();
  std::error_code error;
  if (stream) std::filesystem::rename(unfinished, path, error);
  if (stream && !error) return absl::OkStatus();
  std::filesystem::remove(unfinished, error);
  return absl::UnknownError(absl::StrCat(path, " cannot be written"));
}

absl::Status RunDump(const CommandLine& line, const std::string& output) {
  PARLEY_ASSIGN_OR_RETURN(const Dsn dsn, line.GetDsn());
  PARLEY_ASSIGN_OR_RETURN(const std::string dump, DumpSchema(dsn));
  if (output.empty()) {
    line.PrintText(dump);
    return absl::OkStatus();
  }
  PARLEY_RETURN_IF_ERROR(WriteWhole(output, dump));
  line.Print(absl::StrCat("wrote ", output), {{"event", "written"}, {"file", output}});
  return absl::OkStatus();
}

}  // namespace

void AddVerify(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand(
      "verify", "compare the schema with what its migrations make in a scratch database");
  const auto scratch_url = std::make_shared<std::string>();
  command
      ->add_option("--scratch-url", *scratch_url,
                   "an empty database for that, which is empty again afterwards; without, one is "
                   "made on the same server and dropped, for which the role needs CREATEDB")
      ->envname("PARLEY_SCRATCH_URL");
  command->callback([&line, scratch_url] {
    line.run = [&line, scratch_url] { return RunVerify(line, *scratch_url); };
  });
}

void AddDump(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand("dump", "write the schema as SQL, by pg_dump");
  const auto output = std::make_shared<std::string>();
  command->add_option("--output", *output, "the file to write; without, standard output");
  command->callback(
      [&line, output] { line.run = [&line, output] { return RunDump(line, *output); }; });
}

}  // namespace parley::db
