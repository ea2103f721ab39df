// new, lint: for those who write migrations. Both need the folder, and no database.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "db/migrator/cli/commands.h"
#include "db/migrator/lint.h"
#include "db/migrator/new_migration.h"
#include "db/migrator/problem.h"

namespace parley::db {
namespace {

// Where the folder is in this project's own checkout.
constexpr char kUsualDirectory[] = "db/migrations";
// Beside the migrations: the newest version that was released, and that lint therefore passes over.
constexpr char kBaselineFile[] = "LINT_BASELINE";

absl::StatusOr<std::string> FolderOf(const CommandLine& line) {
  if (!line.directory().empty()) return line.directory();
  std::error_code error;
  if (std::filesystem::is_directory(kUsualDirectory, error)) return std::string(kUsualDirectory);
  return ProblemError(Problem::kUsage,
                      absl::StrCat("there is no ", kUsualDirectory, " here; give --dir"));
}

absl::Status RunNew(const CommandLine& line, NewMigration migration) {
  PARLEY_ASSIGN_OR_RETURN(migration.directory, FolderOf(line));
  migration.now = absl::Now();
  PARLEY_ASSIGN_OR_RETURN(const std::string file_name, WriteNewMigration(migration));
  const std::string path = (std::filesystem::path(migration.directory) / file_name).string();
  line.Print(
      absl::StrCat("wrote ", path,
                   "\nnext: write both sections; `parley-migrate lint` says what is wrong with "
                   "them\n      list the file in db/migrator/CMakeLists.txt\n      "
                   "`parley-migrate sum --dir ",
                   migration.directory,
                   "`\n      apply it, and `parley-migrate dump --output db/schema.sql`"),
      {{"event", "written"}, {"file", path}});
  return absl::OkStatus();
}

struct LintFlags {
  std::string since;
  bool lists_rules = false;
};

// For CLI11.
std::string CheckVersion(const std::string& text) {
  const bool is_version =
      text.size() == 14 && std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
  return is_version ? "" : text + " is not a version, YYYYMMDDHHMMSS";
}

// Empty if the folder has no baseline: then nothing in it has been released.
absl::StatusOr<std::string> ReadBaseline(const std::string& directory,
                                         const std::vector<MigrationFile>& files) {
  const std::filesystem::path path = std::filesystem::path(directory) / kBaselineFile;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return std::string();
  std::string version;
  stream >> version;
  std::string fault = CheckVersion(version);
  const bool is_there = std::any_of(files.begin(), files.end(), [&](const MigrationFile& file) {
    return absl::StartsWith(file.file_name, version);
  });
  // A slip here would let everything pass.
  if (fault.empty() && !is_there) fault = absl::StrCat("there is no file ", version);
  if (fault.empty()) return version;
  return ProblemError(Problem::kUsage, absl::StrCat(path.string(), ": ", fault));
}

absl::Status ListRules(const CommandLine& line) {
  for (const LintRule& rule : LintRules()) {
    line.Print(absl::StrFormat("%-26s %s", rule.name, rule.summary),
               {{"event", "rule"}, {"rule", rule.name}, {"text", rule.summary}});
  }
  return absl::OkStatus();
}

absl::Status RunLint(const CommandLine& line, const LintFlags& flags) {
  if (flags.lists_rules) return ListRules(line);
  PARLEY_ASSIGN_OR_RETURN(const std::string directory, FolderOf(line));
  PARLEY_ASSIGN_OR_RETURN(const std::vector<MigrationFile> files, ReadMigrationFiles(directory));
  std::string since = flags.since;
  if (since.empty()) {
    PARLEY_ASSIGN_OR_RETURN(since, ReadBaseline(directory, files));
  }
  const std::vector<LintFinding> findings = LintMigrations(files, since);
  for (const LintFinding& finding : findings) {
    const std::string path = (std::filesystem::path(directory) / finding.file_name).string();
    line.Print(absl::StrCat(path, ":", finding.line, ":", finding.column, ": ", finding.rule, ": ",
                            finding.message),
               {{"event", "finding"},
                {"file", path},
                {"line", finding.line},
                {"column", finding.column},
                {"rule", finding.rule},
                {"text", finding.message}});
  }
  if (findings.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      findings.size(), findings.size() == 1 ? " finding" : " findings",
      "; CONTRIBUTING.md, \"Migrations\", says how changes are made while services run"));
}

}  // namespace

void AddNew(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand("new", "write the beginnings of a migration");
  const auto migration = std::make_shared<NewMigration>();
  command->add_option("name", migration->name, "letters, digits and underscores")->required();
  const auto contracts = [migration](std::int64_t) { migration->phase = Phase::kContract; };
  command->add_flag_function("--contract", contracts,
                             "of the phase contract: takes away what no release uses any more");
  const auto has_none = [migration](std::int64_t) { migration->is_transactional = false; };
  command->add_flag_function("--no-transaction", has_none,
                             "for one statement that cannot run in a transaction");
  command->callback(
      [&line, migration] { line.run = [&line, migration] { return RunNew(line, *migration); }; });
}

void AddLint(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand(
      "lint", "find what stops or breaks running services; exit with 1 if there is anything");
  const auto flags = std::make_shared<LintFlags>();
  command
      ->add_option("--since", flags->since,
                   "pass over files up to this version; without it, up to that in the file "
                   "LINT_BASELINE beside them")
      ->check(CLI::Validator(CheckVersion, "VERSION"));
  command->add_flag("--rules", flags->lists_rules, "list the rules");
  command->callback(
      [&line, flags] { line.run = [&line, flags] { return RunLint(line, *flags); }; });
}

}  // namespace parley::db
