#include "db/adopt/adopt.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/local_time.h"
#include "base/status_macros.h"
#include "db/adopt/expected_rows.h"
#include "db/adopt/fill_tables.h"
#include "db/adopt/original_schema.h"
#include "db/adopt/sql_quote.h"
#include "db/adopt/steps.h"
#include "db/adopt/take_tables.h"
#include "db/migrator/connection.h"
#include "db/migrator/history.h"
#include "db/migrator/migration_lock.h"
#include "db/migrator/problem.h"

namespace parley::adopt {
namespace {

using db::Connection;
using db::FieldOf;
using db::Result;

// Whatever the role's or the database's own settings are. A big sort and a big index are what takes
// the time; the server notices within seconds that nobody waits for its answer any more.
constexpr absl::string_view kSettingsSql =
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;"
    " SET LOCAL standard_conforming_strings = on; SET LOCAL work_mem = '128MB';"
    " SET LOCAL maintenance_work_mem = '512MB'; SET LOCAL jit = off;"
    " SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO';"
    " SET LOCAL row_security = off;"             // the server refuses rather than hides rows
    " SET LOCAL client_min_messages = warning;"  // words too long for the search, one by one
    " SELECT pg_catalog.set_config(name, '2s', true) FROM pg_catalog.pg_settings"
    " WHERE name = 'client_connection_check_interval';";

absl::StatusOr<Connection> OpenConnection(const db::Dsn& dsn) {
  return Connection::Open(dsn.WithDefault("application_name", "parley-migrate"));
}

absl::Status CheckDatabase(Connection& connection) {
  PARLEY_ASSIGN_OR_RETURN(
      const Result result,
      connection.Query("SELECT current_schema(), current_setting('server_encoding')"));
  if (FieldOf(result, 0, 0) != "public") {
    return absl::FailedPreconditionError(absl::StrCat(
        "new tables of this role go to schema '", FieldOf(result, 0, 0),
        "', and not to public, where the services look for them: see the role's search_path"));
  }
  if (FieldOf(result, 0, 1) != "UTF8") {
    return absl::FailedPreconditionError(
        absl::StrCat("the database's encoding is ", FieldOf(result, 0, 1),
                     "; Parley needs UTF8. Restore a dump of it into a database that has it."));
  }
  return absl::OkStatus();
}

// PostgreSQL takes abbreviations for zones without summer time, CET for one, before it looks for
// places.
absl::Status CheckZone(Connection& connection, const std::string& zone) {
  if (!IsKnownTimeZone(zone)) {
    return db::ProblemError(
        db::Problem::kUsage,
        absl::StrCat("--time-zone: '", zone, "' is no IANA zone, such as Europe/Berlin or UTC"));
  }
  PARLEY_ASSIGN_OR_RETURN(const Result abbreviation,
                          connection.Query(absl::StrCat(
                              "SELECT FROM pg_catalog.pg_timezone_abbrevs WHERE abbrev = upper(",
                              QuoteLiteral(zone), ") AND abbrev NOT IN ('UTC', 'GMT')")));
  if (PQntuples(abbreviation.get()) > 0) {
    return db::ProblemError(
        db::Problem::kUsage,
        absl::StrCat("--time-zone: PostgreSQL reads '", zone,
                     "' as an offset without summer time; name a place, such as Europe/Berlin"));
  }
  const Result known =
      connection.Run(absl::StrCat("SELECT now() AT TIME ZONE ", QuoteLiteral(zone)));
  if (db::Succeeded(known)) return absl::OkStatus();
  return db::ProblemError(db::Problem::kUsage,
                          absl::StrCat("--time-zone: ", db::ErrorTextOf(known)));
}

absl::Status CheckLanguage(Connection& connection, const std::string& language) {
  PARLEY_ASSIGN_OR_RETURN(
      const Result found,
      connection.Query(absl::StrCat(
          "SELECT FROM pg_catalog.pg_ts_config WHERE cfgname = ", QuoteLiteral(language),
          " AND pg_catalog.pg_ts_config_is_visible(oid)")));
  if (PQntuples(found.get()) > 0) return absl::OkStatus();
  return db::ProblemError(
      db::Problem::kUsage,
      absl::StrCat("--search-language: the database has no text search configuration '", language,
                   "'"));
}

absl::Status CheckSettings(Connection& connection, const AdoptOptions& options) {
  PARLEY_RETURN_IF_ERROR(CheckDatabase(connection));
  PARLEY_RETURN_IF_ERROR(CheckZone(connection, options.time_zone));
  return CheckLanguage(connection, options.search_language);
}

std::string Differences(const std::vector<ComparedRows>& rows) {
  std::string text;
  for (const ComparedRows& part : rows) {
    if (AreEqual({part})) continue;
    absl::StrAppend(&text, "\n  ", part.table, part.chat_id.empty() ? "" : " of chat ",
                    part.chat_id, ": ", part.expected.rows, " rows, checksum ",
                    part.expected.checksum, ", became ", part.found->rows, " rows, checksum ",
                    part.found->checksum);
  }
  return text;
}

// By the catalog alone, before anybody is locked out: a database that is Parley's, or that this
// role cannot change, is left in peace.
absl::StatusOr<bool> IsToBeAdopted(Connection& connection) {
  PARLEY_ASSIGN_OR_RETURN(const db::History history, db::ReadHistory(connection));
  if (!history.applied.empty()) return false;
  PARLEY_ASSIGN_OR_RETURN(const OriginalSchema schema, ReadOriginalSchema(connection));
  return schema.differences.empty() && schema.missing_rights.empty();
}

// In the transaction that is to become the adoption.
absl::StatusOr<Adoption> AdoptIn(Connection& connection, const db::MigrationSet& set,
                                 const AdoptOptions& options, const Labels& labels) {
  Steps steps(connection, options.report);
  Adoption adoption;
  PARLEY_ASSIGN_OR_RETURN(const bool may_lock, IsToBeAdopted(connection));
  if (may_lock) {
    PARLEY_RETURN_IF_ERROR(LockOriginal(connection, options, steps));
    steps.Report("tables locked");
  }
  PARLEY_ASSIGN_OR_RETURN(adoption.survey, MakeSurvey(connection, set, options, labels));
  steps.Report("rows checked");
  if (adoption.survey.Stops()) return adoption;
  if (!may_lock) return absl::AbortedError("the tables were changed meanwhile; run this again");
  PARLEY_RETURN_IF_ERROR(MoveOriginal(connection, adoption.survey.schema));
  steps.Report("old tables moved to schema original");
  PARLEY_RETURN_IF_ERROR(MakeSchema(connection, set));
  steps.Report("new tables made");
  const ExpectedRows expected = ExpectedRowsOf(adoption.survey, labels, options, "original");
  PARLEY_RETURN_IF_ERROR(FillTables(connection, adoption.survey, expected, options, steps));
  PARLEY_ASSIGN_OR_RETURN(adoption.rows,
                          CompareRows(connection, expected, CompareWith::kParleysTables));
  steps.Report("old and new rows compared");
  if (!AreEqual(adoption.rows)) {
    return absl::DataLossError(
        absl::StrCat("what was copied is not what was there, so nothing was changed:",
                     Differences(adoption.rows)));
  }
  adoption.is_done = true;
  return adoption;
}

absl::Status Commit(Connection& connection) {
  const Result result = connection.Run("COMMIT");
  if (db::Succeeded(result)) return absl::OkStatus();
  if (connection.IsLost()) {
    return absl::UnavailableError(
        absl::StrCat("the connection was lost during the commit, so the database is adopted or as "
                     "it was; `parley-migrate status` tells. ",
                     db::ErrorTextOf(result)));
  }
  return absl::InternalError(db::ErrorTextOf(result));
}

}  // namespace

absl::StatusOr<Adoption> CheckAdoption(const db::Dsn& dsn, const db::MigrationSet& set,
                                       const AdoptOptions& options) {
  PARLEY_ASSIGN_OR_RETURN(const Labels labels, ParseLabels(options));
  PARLEY_ASSIGN_OR_RETURN(Connection connection, OpenConnection(dsn));
  PARLEY_RETURN_IF_ERROR(CheckSettings(connection, options));
  PARLEY_RETURN_IF_ERROR(connection.Execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
  PARLEY_RETURN_IF_ERROR(connection.Execute(std::string(kSettingsSql)));
  Adoption adoption;
  PARLEY_ASSIGN_OR_RETURN(adoption.survey, MakeSurvey(connection, set, options, labels));
  if (adoption.survey.Stops()) return adoption;
  const ExpectedRows expected = ExpectedRowsOf(adoption.survey, labels, options, "public");
  PARLEY_ASSIGN_OR_RETURN(adoption.rows, CompareRows(connection, expected, CompareWith::kNothing));
  return adoption;
}

absl::StatusOr<Adoption> Adopt(const db::Dsn& dsn, const db::MigrationSet& set,
                               const AdoptOptions& options) {
  PARLEY_ASSIGN_OR_RETURN(const Labels labels, ParseLabels(options));
  PARLEY_ASSIGN_OR_RETURN(Connection connection, OpenConnection(dsn));
  PARLEY_RETURN_IF_ERROR(CheckSettings(connection, options));
  // Held to the end of the session, which is the end of this function.
  PARLEY_RETURN_IF_ERROR(
      db::AcquireMigrationLock(connection, options.lock_wait, [&](const db::Progress& progress) {
        if (options.report) options.report({.what = progress.text});
      }));
  PARLEY_RETURN_IF_ERROR(connection.Execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"));
  PARLEY_RETURN_IF_ERROR(connection.Execute(std::string(kSettingsSql)));
  // Whatever returns early closes the connection, and with it the transaction.
  PARLEY_ASSIGN_OR_RETURN(Adoption adoption, AdoptIn(connection, set, options, labels));
  if (adoption.is_done) PARLEY_RETURN_IF_ERROR(Commit(connection));
  return adoption;
}

}  // namespace parley::adopt
