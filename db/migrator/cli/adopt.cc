// adopt: takes over a database that the original's models made.
#include "db/adopt/adopt.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "db/adopt/backup_file.h"
#include "db/adopt/finding.h"
#include "db/migrator/cli/commands.h"
#include "db/migrator/problem.h"

namespace parley::db {
namespace {

using adopt::Adoption;
using adopt::ComparedRows;
using adopt::Finding;
using nlohmann::ordered_json;

struct AdoptFlags {
  adopt::AdoptOptions options;
  std::string passwords = "reject";
  std::string backup;
  std::string report;
  bool checks = false;
  bool has_backup = false;
  bool sets_aside = false;
  bool shows_all = false;
};

ordered_json ToJson(const Finding& finding) {
  return {{"event", "finding"},
          {"name", finding.name},
          {"stops", finding.weight == adopt::Weight::kStops},
          {"count", finding.count},
          {"what", finding.what},
          {"rows", finding.rows},
          {"advice", finding.advice}};
}

ordered_json ToJson(const ComparedRows& part) {
  ordered_json object = {{"event", "rows"}, {"table", part.table}};
  if (!part.chat_id.empty()) object["chat_id"] = part.chat_id;
  object["before"] = {{"rows", part.expected.rows}, {"checksum", part.expected.checksum}};
  if (part.found) {
    object["after"] = {{"rows", part.found->rows}, {"checksum", part.found->checksum}};
  }
  return object;
}

void PrintStep(const CommandLine& line, const adopt::Step& step) {
  ordered_json object = {{"event", "step"}, {"step", step.what}};
  std::string text = absl::StrFormat("%9.3f s  %s", absl::ToDoubleSeconds(step.took), step.what);
  if (step.rows >= 0) {
    object["rows"] = step.rows;
    absl::StrAppend(&text, ": ", step.rows);
  }
  object["milliseconds"] = absl::ToInt64Milliseconds(step.took);
  line.Print(text, object);
}

// Each table's rows, then what there is to say about them.
void PrintSurvey(const CommandLine& line, const adopt::Survey& survey) {
  if (survey.schema.has_alembic) {
    line.Print(absl::StrCat("Alembic's version: ", survey.schema.alembic_version),
               {{"event", "alembic"}, {"version", survey.schema.alembic_version}});
  }
  for (const auto& [table, rows] : survey.rows) {
    line.Print(absl::StrCat("found    ", table, ": ", rows, " rows"),
               {{"event", "found"}, {"table", table}, {"rows", rows}});
  }
  for (const Finding& finding : survey.findings) {
    const std::string text = adopt::ToText(finding);
    line.Print(absl::StripSuffix(text, "\n"), ToJson(finding));
  }
}

// Before and after, one JSON object a line, whatever --json says: a machine compares it one day.
absl::Status WriteReport(const std::string& path, const Adoption& adoption) {
  if (path.empty()) return absl::OkStatus();
  std::string text;
  for (const auto& [table, rows] : adoption.survey.rows) {
    absl::StrAppend(
        &text, ordered_json({{"event", "found"}, {"table", table}, {"rows", rows}}).dump(), "\n");
  }
  for (const ComparedRows& part : adoption.rows) absl::StrAppend(&text, ToJson(part).dump(), "\n");
  if (path == "-") {
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
    return absl::OkStatus();
  }
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream << text;
  stream.close();
  if (stream) return absl::OkStatus();
  return absl::UnknownError(absl::StrCat("--report: ", path, " cannot be written",
                                         adoption.is_done ? "; the adoption itself is done" : ""));
}

// Before anything is changed, that is.
absl::Status CheckReport(const std::string& path) {
  if (path.empty() || path == "-" || std::ofstream(path, std::ios::app)) return absl::OkStatus();
  return ProblemError(Problem::kUsage, absl::StrCat("--report: ", path, " cannot be written"));
}

absl::Status Stopped(const adopt::Survey& survey) {
  const auto stops =
      std::count_if(survey.findings.begin(), survey.findings.end(),
                    [](const Finding& finding) { return finding.weight == adopt::Weight::kStops; });
  return ProblemError(Problem::kMismatch,
                      absl::StrCat("the database cannot be adopted as it is: ", stops,
                                   " of the findings stop it; nothing was changed"));
}

absl::Status CheckBackup(const AdoptFlags& flags) {
  if (flags.has_backup) return absl::OkStatus();
  if (!flags.backup.empty()) return adopt::CheckBackupFile(flags.backup);
  return ProblemError(Problem::kUsage,
                      "adopt changes the whole database: make a backup (pg_dump --format=custom "
                      "--file=FILE) and give --backup FILE, or --i-have-a-backup; --check changes "
                      "nothing and needs none");
}

void PrintEnd(const CommandLine& line, const Adoption& adoption) {
  if (!adoption.is_done) {
    return line.Print("nothing stops an adoption", {{"event", "adoptable"}});
  }
  const auto is_set_aside = [](const Finding& finding) { return finding.is_set_aside; };
  const auto& findings = adoption.survey.findings;
  const bool is_all = std::none_of(findings.begin(), findings.end(), is_set_aside);
  const bool is_referred_to = !adoption.survey.schema.dependents.empty();
  line.Print(
      absl::StrCat("adopted: this is Parley's database now, and every row ",
                   is_all ? "" : "but those set aside ", "is what it was.\n",
                   "Schema original holds the old tables, untouched",
                   is_all ? "" : ", and what was set aside is nowhere else",
                   is_referred_to
                       ? ". Others refer to them (dependents, above): dropping it with CASCADE "
                         "would take columns, defaults and views of theirs."
                       : ". When nobody needs them any more:\n  DROP SCHEMA original CASCADE"),
      {{"event", "adopted"}, {"all_rows", is_all}, {"referred_to", is_referred_to}});
}

absl::Status RunAdopt(const CommandLine& line, AdoptFlags flags) {
  PARLEY_ASSIGN_OR_RETURN(const Dsn dsn, line.GetDsn());
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, line.LoadSet());
  const MigrateOptions migrate = line.GetOptions();
  flags.options.lock_wait = migrate.lock_wait;
  flags.options.lock_timeout = migrate.run.lock_timeout;
  flags.options.lock_retry = migrate.run.lock_retry;
  flags.options.report = [&](const adopt::Step& step) { PrintStep(line, step); };
  if (flags.passwords == "plaintext") {
    flags.options.legacy_passwords = adopt::LegacyPasswords::kPlaintext;
  }
  if (flags.sets_aside) flags.options.leftovers = adopt::Leftovers::kSetAside;
  if (flags.shows_all) flags.options.rows_shown = std::numeric_limits<std::int64_t>::max();
  if (!flags.checks) PARLEY_RETURN_IF_ERROR(CheckBackup(flags));
  PARLEY_RETURN_IF_ERROR(CheckReport(flags.report));
  PARLEY_ASSIGN_OR_RETURN(const Adoption adoption,
                          flags.checks ? adopt::CheckAdoption(dsn, set, flags.options)
                                       : adopt::Adopt(dsn, set, flags.options));
  PrintSurvey(line, adoption.survey);
  PARLEY_RETURN_IF_ERROR(WriteReport(flags.report, adoption));
  if (adoption.survey.Stops()) return Stopped(adoption.survey);
  PrintEnd(line, adoption);
  return absl::OkStatus();
}

void AddMeanings(CLI::App& command, AdoptFlags& flags) {
  command
      .add_option("--time-zone", flags.options.time_zone,
                  "IANA zone in which the original's times are read, such as Europe/Berlin")
      ->required();
  command.add_option("--chat-type", flags.options.chat_types,
                     "LABEL=PRIVATE, GROUP or CHANNEL: what a label of the original's enum means");
  command.add_option("--user-status", flags.options.user_statuses,
                     "LABEL=ACTIVE or BLOCKED: what a label of the original's enum means");
  command
      .add_option("--search-language", flags.options.search_language,
                  "PostgreSQL's text search configuration, the same as that of parley-messaged")
      ->envname("PARLEY_SEARCH_LANGUAGE")
      ->capture_default_str();
  command
      .add_option(
          "--legacy-passwords", flags.passwords,
          "plaintext: VerifyPassword takes the original's passwords, and hashes each when it "
          "was right; reject: it does not")
      ->check(CLI::IsMember({"reject", "plaintext"}))
      ->capture_default_str();
}

}  // namespace

void AddAdopt(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand(
      "adopt", "make a database of the original Python application Parley's, with all its rows");
  const auto flags = std::make_shared<AdoptFlags>();
  command->add_flag("--check", flags->checks,
                    "only say what there is and what would stop it; exit with 4 if something does");
  AddMeanings(*command, *flags);
  command->add_flag("--set-aside", flags->sets_aside,
                    "leave rows and columns that have no place here behind, in schema original");
  command->add_flag("--all-rows", flags->shows_all, "show all rows of a finding, not the first 20");
  CLI::Option* backup =
      command->add_option("--backup", flags->backup, "a file of pg_dump that holds the database");
  command->add_flag("--i-have-a-backup", flags->has_backup, "there is one elsewhere")
      ->excludes(backup);
  command->add_option("--report", flags->report,
                      "write rows and checksums, before and after, to this file; -: print them");
  command->callback(
      [&line, flags] { line.run = [&line, flags] { return RunAdopt(line, *flags); }; });
}

}  // namespace parley::db
