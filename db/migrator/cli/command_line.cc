#include "db/migrator/cli/command_line.h"

#include <cstdio>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "db/migrator/problem.h"
#include "db/migrator/read_file.h"
#include "db/migrator/sum_file.h"

namespace parley::db {
namespace {

// CLI11's checks return what is wrong, or nothing.
std::string CheckDuration(const std::string& text) {
  absl::Duration duration;
  const bool is_duration = absl::ParseDuration(text, &duration);
  // PostgreSQL keeps its timeouts as 32-bit milliseconds.
  if (is_duration && duration >= absl::ZeroDuration() && duration <= absl::Hours(24 * 20))
    return "";
  return text + " is not a time such as 500ms, 10s or 5m";
}

void WriteLine(std::FILE* file, absl::string_view line) {
  std::fprintf(file, "%.*s\n", static_cast<int>(line.size()), line.data());
  std::fflush(file);  // progress is of use only at once
}

// Texts of the server may be anything.
std::string Dump(const nlohmann::ordered_json& object) {
  return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

absl::string_view ProblemName(Problem problem) {
  switch (problem) {
    case Problem::kNone:
      return "none";
    case Problem::kError:
      return "error";
    case Problem::kUsage:
      return "usage";
    case Problem::kPending:
      return "pending";
    case Problem::kMismatch:
      return "mismatch";
    case Problem::kLocked:
      return "locked";
    case Problem::kDirty:
      return "dirty";
    case Problem::kOutOfOrder:
      return "out_of_order";
  }
  return "error";
}

}  // namespace

CLI::Validator DurationFlag() { return CLI::Validator(CheckDuration, "TIME"); }

absl::Duration DurationOf(const std::string& text) {
  absl::Duration duration;
  absl::ParseDuration(text, &duration);
  return duration;
}

nlohmann::ordered_json EventJson(absl::string_view event, const Migration& migration) {
  return {{"event", event}, {"version", migration.version}, {"file", migration.file_name}};
}

void CommandLine::AddFlags(CLI::App& app) {
  app.add_option("--database-url", database_url_,
                 "libpq URI or key=value pairs; others can see a command line, so a password is "
                 "better in the environment")
      ->envname("PARLEY_DATABASE_URL");
  app.add_option("--dir", directory_, "use the *.sql files of this directory, not those built in");
  app.add_option("--lock-wait", lock_wait_, "how long to wait for other migrators")
      ->check(DurationFlag())
      ->capture_default_str();
  app.add_option("--lock-timeout", lock_timeout_,
                 "how long to wait for a table's lock, and keep others waiting behind; 0: for ever")
      ->check(DurationFlag())
      ->capture_default_str();
  app.add_option("--lock-retry", lock_retry_,
                 "how long to try again when a table's lock was not had within --lock-timeout")
      ->check(DurationFlag())
      ->capture_default_str();
  app.add_flag("--json", is_json_, "one JSON object a line");
}

absl::StatusOr<Dsn> CommandLine::GetDsn() const {
  if (database_url_.empty()) {
    return ProblemError(Problem::kUsage, "set PARLEY_DATABASE_URL or give --database-url");
  }
  return Dsn::Parse(database_url_);
}

absl::StatusOr<MigrationSet> CommandLine::LoadSet() const {
  if (directory_.empty()) return MigrationSet::Embedded();
  PARLEY_ASSIGN_OR_RETURN(MigrationSet set, MigrationSet::FromDirectory(directory_));
  const std::filesystem::path path = std::filesystem::path(directory_) / kSumFileName;
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    PARLEY_ASSIGN_OR_RETURN(const std::string sum, ReadFile(path));
    PARLEY_RETURN_IF_ERROR(CheckSum(set, sum));
  }
  return set;
}

MigrateOptions CommandLine::GetOptions() const {
  return {.lock_wait = DurationOf(lock_wait_),
          .run = {.lock_timeout = DurationOf(lock_timeout_), .lock_retry = DurationOf(lock_retry_)},
          .report = [this](const Progress& progress) {
            nlohmann::ordered_json object = progress.migration == nullptr
                                                ? nlohmann::ordered_json{{"event", progress.event}}
                                                : EventJson(progress.event, *progress.migration);
            object["text"] = progress.text;
            if (progress.took > absl::ZeroDuration()) {
              object["milliseconds"] = absl::ToInt64Milliseconds(progress.took);
            }
            Print(progress.text, object);
          }};
}

void CommandLine::Print(absl::string_view text, const nlohmann::ordered_json& object) const {
  if (is_json_) {
    WriteLine(stdout, Dump(object));
  } else {
    WriteLine(stdout, text);
  }
}

void CommandLine::PrintText(absl::string_view text) const {
  Print(absl::StripSuffix(text, "\n"), {{"event", "text"}, {"text", text}});
}

void CommandLine::PrintError(const absl::Status& status) const {
  const Problem problem = ProblemOf(status);
  if (is_json_) {
    nlohmann::ordered_json object = {{"event", "error"},
                                     {"problem", ProblemName(problem)},
                                     {"exit_code", static_cast<int>(problem)}};
    const ErrorPlace place = PlaceOf(status);
    if (!place.file.empty()) object["file"] = place.file;
    if (place.line > 0) object["line"] = place.line;
    if (place.column > 0) object["column"] = place.column;
    if (!place.sqlstate.empty()) object["sqlstate"] = place.sqlstate;
    object["text"] = status.message();
    WriteLine(stderr, Dump(object));
  } else {
    WriteLine(stderr, absl::StrCat("parley-migrate: ", status.message()));
  }
}

}  // namespace parley::db
