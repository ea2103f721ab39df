// sql, sum: what needs the files only.
#include <filesystem>
#include <fstream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "db/migrator/cli/commands.h"
#include "db/migrator/problem.h"
#include "db/migrator/read_file.h"
#include "db/migrator/script.h"
#include "db/migrator/sum_file.h"

namespace parley::db {
namespace {

absl::Status RunSql(const CommandLine& line, const std::string& range) {
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, line.LoadSet());
  const std::pair<std::string, std::string> ends =
      absl::StrSplit(range.empty() ? ":" : range, absl::MaxSplits(':', 1));
  ScriptRange given{.from = ends.first, .to = ends.second};
  if (given.to.empty()) given.to = set.migrations().back().version;
  if (given.to == "none") given.to.clear();
  PARLEY_ASSIGN_OR_RETURN(const std::string script,
                          MigrationScript(set, given, line.GetOptions().run.lock_timeout));
  line.PrintText(script);
  return absl::OkStatus();
}

absl::Status RunSum(const CommandLine& line, bool checks) {
  if (line.directory().empty()) {
    return ProblemError(Problem::kUsage, "sum needs --dir, the directory of the migrations");
  }
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, MigrationSet::FromDirectory(line.directory()));
  const std::filesystem::path path = std::filesystem::path(line.directory()) / kSumFileName;
  if (checks) {
    PARLEY_ASSIGN_OR_RETURN(const std::string sum, ReadFile(path));
    PARLEY_RETURN_IF_ERROR(CheckSum(set, sum));
    line.Print("SUM is right", {{"event", "right"}});
    return absl::OkStatus();
  }
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream << SumOf(set);
  stream.close();
  if (!stream) return absl::UnknownError(absl::StrCat(path.string(), " cannot be written"));
  line.Print(absl::StrCat("wrote ", path.string()),
             {{"event", "written"}, {"file", path.string()}});
  return absl::OkStatus();
}

}  // namespace

void AddSql(CLI::App& app, CommandLine& line) {
  CLI::App* command =
      app.add_subcommand("sql", "print what `up` or `down` runs; needs no database");
  const auto range = std::make_shared<std::string>();
  command->add_option("range", *range,
                      "FROM:TO, two versions; FROM empty: an empty database; TO empty: the newest, "
                      "\"none\": all the way down");
  command->callback([&line, range] { line.run = [&line, range] { return RunSql(line, *range); }; });
}

void AddSum(CLI::App& app, CommandLine& line) {
  CLI::App* command =
      app.add_subcommand("sum", "write SUM, which says what the files of --dir are");
  const auto checks = std::make_shared<bool>(false);
  command->add_flag("--check", *checks, "only compare; exit with 4 if it differs");
  command->callback(
      [&line, checks] { line.run = [&line, checks] { return RunSum(line, *checks); }; });
}

}  // namespace parley::db
