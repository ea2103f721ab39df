#include "db/adopt/survey.h"

#include <algorithm>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "db/adopt/login_keys.h"
#include "db/adopt/made_names.h"
#include "db/adopt/row_checks.h"
#include "db/adopt/sql_quote.h"
#include "db/migrator/history.h"
#include "db/migrator/problem.h"

namespace parley::adopt {
namespace {

using db::Connection;
using db::FieldOf;
using db::Result;

absl::StatusOr<bool> Exists(Connection& connection, absl::string_view query) {
  PARLEY_ASSIGN_OR_RETURN(const Result result,
                          connection.Query(absl::StrCat("SELECT EXISTS (", query, ")")));
  return FieldOf(result, 0, 0) == "t";
}

// One enum column, and what the flags say about it.
struct LabelColumn {
  absl::string_view table;
  absl::string_view column;
  absl::string_view noun;
  absl::string_view flag;
  const OriginalEnum& type;
  const LabelMap& map;
};

class Surveyor {
 public:
  Surveyor(Connection& connection, const AdoptOptions& options)
      : connection_(connection), options_(options) {}

  // False: there is nothing here that could be looked at.
  absl::StatusOr<bool> LookAtTables(const db::MigrationSet& set) {
    PARLEY_ASSIGN_OR_RETURN(const db::History history, db::ReadHistory(connection_));
    PARLEY_ASSIGN_OR_RETURN(const bool has_original, Exists(connection_,
                                                            "SELECT FROM pg_catalog.pg_namespace"
                                                            " WHERE nspname = 'original'"));
    if (!history.applied.empty()) {
      Stop("already-parleys", {},
           has_original
               ? "the database was adopted before: it is Parley's, and schema original holds "
                 "what it was made of"
               : "the database is Parley's already",
           "nothing; `parley-migrate up` keeps it up to date");
      return false;
    }
    if (has_original) {
      Stop("schema-taken", {"original"}, "a schema of the name that the old tables are to have",
           "ALTER SCHEMA original RENAME TO another");
    }
    PARLEY_ASSIGN_OR_RETURN(survey_.schema, ReadOriginalSchema(connection_));
    if (!survey_.schema.differences.empty()) {
      Stop(
          "unlike-the-original", survey_.schema.differences,
          "differences to the tables that the original's models make",
          "make the tables what the models say, or adopt a copy of the database in which they are");
      return false;
    }
    PARLEY_RETURN_IF_ERROR(CheckNames(set));
    const std::vector<std::string>& rights = survey_.schema.missing_rights;
    if (!rights.empty()) {
      Stop("missing-rights", rights, "rights that this role needs and lacks",
           "run it as the owner of tables and database, which the services are to connect as");
    }
    const std::vector<std::string>& hiding = survey_.schema.hiding_tables;
    if (!hiding.empty()) {
      Stop("row-security", hiding, "tables of which row-level security hides rows from this role",
           absl::StrCat("ALTER TABLE ", hiding.front(),
                        " NO FORCE ROW LEVEL SECURITY, as its "
                        "owner, whom it then keeps nothing from"));
    }
    return rights.empty() && hiding.empty();
  }

  absl::Status LookAtRows(const Labels& labels) {
    PARLEY_RETURN_IF_ERROR(CountRows());
    PARLEY_RETURN_IF_ERROR(CheckLabels({"chats", "chat_type", "chat", "--chat-type",
                                        survey_.schema.chat_type, labels.chat_types}));
    PARLEY_RETURN_IF_ERROR(CheckLabels({"users", "status", "user", "--user-status",
                                        survey_.schema.user_status, labels.user_statuses}));
    for (const RowCheck& check : RowChecks(survey_.schema)) PARLEY_RETURN_IF_ERROR(Ask(check));
    PARLEY_RETURN_IF_ERROR(AskAboutPasswords());
    PARLEY_ASSIGN_OR_RETURN(LoginKeys keys, WorkOutLoginKeys(connection_, options_.rows_shown));
    survey_.folded_logins = std::move(keys.folded);
    for (Finding& finding : keys.findings) survey_.findings.push_back(std::move(finding));
    return absl::OkStatus();
  }

  Survey Take() && {
    std::stable_partition(survey_.findings.begin(), survey_.findings.end(),
                          [](const Finding& f) { return f.weight == Weight::kStops; });
    return std::move(survey_);
  }

 private:
  absl::Status Ask(const RowCheck& check) {
    return AddFinding(connection_, check, options_, survey_.findings);
  }

  void Stop(std::string name, std::vector<std::string> rows, std::string what, std::string advice) {
    const auto count = static_cast<std::int64_t>(std::max<std::size_t>(rows.size(), 1));
    survey_.findings.push_back({std::move(name), Weight::kStops, count, std::move(what),
                                std::move(rows), std::move(advice)});
  }

  // What there is in `public` of a name which a migration wants to make.
  absl::Status CheckNames(const db::MigrationSet& set) {
    PARLEY_ASSIGN_OR_RETURN(const std::set<std::string> wanted, NamesMadeBy(set));
    PARLEY_ASSIGN_OR_RETURN(const Result taken, connection_.Query(std::string(kStayingNamesSql)));
    std::vector<std::string> rows;
    std::string advice;
    for (int row = 0; row < PQntuples(taken.get()); ++row) {
      if (wanted.count(std::string(FieldOf(taken, row, 0))) == 0) continue;
      rows.emplace_back(FieldOf(taken, row, 1));
      if (advice.empty()) {
        advice = absl::StrCat("ALTER ", FieldOf(taken, row, 2), " RENAME TO another");
      }
    }
    if (!rows.empty()) {
      Stop("names-taken", rows,
           "tables, views, sequences, indexes, types or functions with the name of one of ours",
           advice);
    }
    return CheckImpliedNames(wanted);
  }

  absl::Status CheckImpliedNames(const std::set<std::string>& wanted) {
    PARLEY_ASSIGN_OR_RETURN(const Result parts, connection_.Query(std::string(kStayingPartsSql)));
    std::vector<std::string> rows;
    std::string advice;
    for (int row = 0; row < PQntuples(parts.get()); ++row) {
      if (!IsImplied(FieldOf(parts, row, 0), wanted)) continue;
      rows.emplace_back(FieldOf(parts, row, 1));
      if (advice.empty()) advice = std::string(FieldOf(parts, row, 2));
    }
    if (rows.empty()) return absl::OkStatus();
    Stop("implied-names-taken", rows,
         "keys, checks and sequences of other tables with a name that PostgreSQL may give to one "
         "of ours",
         advice);
    return absl::OkStatus();
  }

  absl::Status CountRows() {
    for (const char* table : kOriginalTables) {
      PARLEY_ASSIGN_OR_RETURN(const Result result, connection_.Query(absl::StrCat(
                                                       "SELECT count(*) FROM public.", table)));
      std::int64_t rows = 0;
      if (!absl::SimpleAtoi(FieldOf(result, 0, 0), &rows)) return absl::InternalError("no count");
      survey_.rows.emplace_back(table, rows);
    }
    return absl::OkStatus();
  }

  absl::Status CheckLabels(const LabelColumn& column) {
    const std::vector<std::string>& labels = column.type.labels;
    for (const std::string& given : column.map.GivenLabels()) {
      if (std::find(labels.begin(), labels.end(), given) != labels.end()) continue;
      Stop("labels-not-there", {given},
           absl::StrCat("a label of ", column.flag, " that ", column.type.name, " does not have"),
           absl::StrCat("spell it as the enum does: ", absl::StrJoin(labels, ", ")));
    }
    for (const std::string& label : labels) {
      if (column.map.MeaningOf(label)) continue;
      PARLEY_RETURN_IF_ERROR(AskAboutLabel(column, label));
    }
    return absl::OkStatus();
  }

  absl::Status AskAboutLabel(const LabelColumn& column, const std::string& label) {
    const std::size_t before = survey_.findings.size();
    PARLEY_RETURN_IF_ERROR(
        Ask({.name = "unknown-labels",
             .weight = Weight::kStops,
             .row = absl::StrCat("'", column.noun, " ' || id"),
             .from = absl::StrCat("public.", column.table, " WHERE ", column.column,
                                  "::text = ", QuoteLiteral(label), " ORDER BY id"),
             .what = absl::StrCat(column.table, " with the ", column.column, " '", label,
                                  "', which is none of ours"),
             .advice = absl::StrCat("say what it means: ", column.flag, " '", label, "=",
                                    column.map.OursText(), "'")}));
    if (survey_.findings.size() > before) return absl::OkStatus();
    survey_.findings.push_back(
        {.name = "unused-labels",
         .what = absl::StrCat(column.table, " with the ", column.column, " '", label,
                              "', which is none of ours and needs no meaning")});
    return absl::OkStatus();
  }

  absl::Status AskAboutPasswords() {
    const bool are_taken = options_.legacy_passwords == LegacyPasswords::kPlaintext;
    if (are_taken) PARLEY_RETURN_IF_ERROR(AskAboutHashes());
    return Ask(
        {.name = "plain-passwords",
         .weight = Weight::kHandled,
         .row = "'user ' || id",
         .from = "public.users WHERE password IS NOT NULL ORDER BY id",
         .what = are_taken
                     ? "users with a password; it is taken as plain text until it was right once"
                     : "users with a password; it is kept aside, and they cannot pass "
                       "VerifyPassword until they get another one (--legacy-passwords)"});
  }

  // Taken as plain text, the hash itself would open the account to whoever has seen it.
  absl::Status AskAboutHashes() {
    return Ask({.name = "hashed-passwords",
                .weight = Weight::kStops,
                .row = "'user ' || id",
                .from = "public.users WHERE password ~ "
                        R"('^\$(2[abxy]?|1|5|6|y|scrypt|argon2[a-z]*|pbkdf2[a-z0-9-]*)\$)"
                        R"(|^(pbkdf2_|pbkdf2:|scrypt:|\{SSHA\}))"
                        R"(|^([0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64})$' ORDER BY id)",
                .what = "users whose password looks like a hash, which is no plain text",
                .advice = "--legacy-passwords reject, and new passwords for all; or, if only these "
                          "are hashes, UPDATE public.users SET password = NULL WHERE id = 1"});
  }

  Connection& connection_;
  const AdoptOptions& options_;
  Survey survey_;
};

absl::StatusOr<LabelMap> ParseFlag(absl::string_view flag, const std::vector<std::string>& given,
                                   std::vector<std::string> ours) {
  absl::StatusOr<LabelMap> map = LabelMap::Parse(given, std::move(ours));
  if (map.ok()) return map;
  return db::ProblemError(db::Problem::kUsage, absl::StrCat(flag, ": ", map.status().message()));
}

}  // namespace

absl::StatusOr<Labels> ParseLabels(const AdoptOptions& options) {
  PARLEY_ASSIGN_OR_RETURN(LabelMap chat_types, ParseFlag("--chat-type", options.chat_types,
                                                         {"private", "group", "channel"}));
  PARLEY_ASSIGN_OR_RETURN(LabelMap user_statuses,
                          ParseFlag("--user-status", options.user_statuses, {"active", "blocked"}));
  return Labels{std::move(chat_types), std::move(user_statuses)};
}

absl::StatusOr<Survey> MakeSurvey(Connection& connection, const db::MigrationSet& set,
                                  const AdoptOptions& options, const Labels& labels) {
  Surveyor surveyor(connection, options);
  PARLEY_ASSIGN_OR_RETURN(const bool has_tables, surveyor.LookAtTables(set));
  if (has_tables) PARLEY_RETURN_IF_ERROR(surveyor.LookAtRows(labels));
  return std::move(surveyor).Take();
}

}  // namespace parley::adopt
