#include "db/migrator/script.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "db/migrator/history.h"
#include "db/migrator/migration_lock.h"
#include "db/migrator/problem.h"
#include "db/migrator/session_setup.h"

namespace parley::db {
namespace {

// Whether the text surely ends with a statement's semicolon, and not with one in a comment.
bool EndsItsLastStatement(absl::string_view sql) {
  const absl::string_view last_line = sql.substr(sql.rfind('\n') + 1);
  return absl::EndsWith(last_line, ";") && !absl::StrContains(last_line, "--") &&
         !absl::StrContains(last_line, "*/");
}

absl::Status CheckEnd(const MigrationSet& set, const std::string& version) {
  if (version.empty() || set.Find(version) != nullptr) return absl::OkStatus();
  return ProblemError(Problem::kUsage, absl::StrCat("there is no migration ", version));
}

// Fails unless the newest version applied is this one.
std::string GuardSql(absl::string_view version) {
  if (version.empty()) {
    return "DO $$ BEGIN\n"
           "  IF to_regclass('public.schema_migrations') IS NOT NULL THEN\n"
           "    IF EXISTS (SELECT FROM public.schema_migrations) THEN\n"
           "      RAISE EXCEPTION 'this script is for a database without migrations';\n"
           "    END IF;\n"
           "  END IF;\n"
           "END $$;\n";
  }
  return absl::StrCat(
      "DO $$ BEGIN\n"
      "  IF (SELECT max(version) FROM public.schema_migrations) IS DISTINCT FROM '",
      version, "' THEN\n    RAISE EXCEPTION 'this script is for a database at version ", version,
      "';\n  END IF;\nEND $$;\n");
}

struct Step {
  const Migration& migration;
  Direction direction = Direction::kUp;
  absl::Duration lock_timeout;
  bool is_first = false;
};

void AppendStep(std::string& script, const Step& step) {
  const bool is_up = step.direction == Direction::kUp;
  const Section& section = is_up ? step.migration.up : step.migration.down;
  const absl::string_view sql = absl::StripAsciiWhitespace(section.sql);
  const std::string body = absl::StrCat(sql, EndsItsLastStatement(sql) ? "\n" : "\n;\n");
  const std::string history = step.is_first ? EnsureHistorySql() : "";
  const std::string record = is_up ? RecordUpSql(step.migration) : RecordDownSql(step.migration);
  absl::StrAppend(&script, "\n-- ", step.migration.file_name, is_up ? "" : ", undone", "\n");
  if (section.is_transactional) {
    absl::StrAppend(&script, BeginSectionSql(step.lock_timeout), "\n", history, body, record,
                    "COMMIT;\n");
  } else {
    // As `up` does it, so that it finds what a failure leaves.
    if (step.is_first) absl::StrAppend(&script, "BEGIN;\n", history, "COMMIT;\n");
    absl::StrAppend(&script, SessionSettingsSql(absl::ZeroDuration()), "\n",
                    BeginLogSql(step.migration, step.direction), body, "BEGIN;\n",
                    EndLogSql(step.migration, step.direction), "COMMIT;\n");
  }
  // Not the role, which may be the operator's.
  absl::StrAppend(&script, "RESET ALL;\n");
}

}  // namespace

absl::StatusOr<std::string> MigrationScript(const MigrationSet& set, const ScriptRange& range,
                                            absl::Duration lock_timeout) {
  PARLEY_RETURN_IF_ERROR(CheckEnd(set, range.from));
  PARLEY_RETURN_IF_ERROR(CheckEnd(set, range.to));
  const Direction direction = range.to >= range.from ? Direction::kUp : Direction::kDown;
  const auto& [low, high] = std::minmax(range.from, range.to);
  std::vector<const Migration*> steps;
  for (const Migration& migration : set.migrations()) {
    if (migration.version > low && migration.version <= high) steps.push_back(&migration);
  }
  if (direction == Direction::kDown) std::reverse(steps.begin(), steps.end());

  std::string script = absl::StrCat("-- From ", range.from.empty() ? "nothing" : range.from, " to ",
                                    range.to.empty() ? "nothing" : range.to,
                                    ", for: psql -X -f this-file\n"
                                    "-- Each migration records itself, as with `parley-migrate`.\n"
                                    "\\set ON_ERROR_STOP on\n"
                                    "\\set AUTOCOMMIT on\n\n",
                                    TakeLockSql(), GuardSql(range.from));
  for (const Migration* migration : steps) {
    if (direction == Direction::kDown && migration->down.is_empty) {
      return ProblemError(
          Problem::kUsage,
          absl::StrCat(migration->file_name, " cannot be undone: its down section is empty"));
    }
    AppendStep(script, {*migration, direction, lock_timeout, migration == steps.front()});
  }
  absl::StrAppend(&script, "\n", GiveLockBackSql());
  return script;
}

}  // namespace parley::db
