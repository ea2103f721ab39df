// What single actions of ALTER TABLE cost on a table that has rows.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "db/migrator/lint_rules.h"

namespace parley::db {
namespace {

// Those of PostgreSQL and its usual extensions that somebody may use as a default. What they return
// differs from row to row, so that PostgreSQL has to write each.
constexpr Words kVolatileFunctions = {"random",
                                      "gen_random_uuid",
                                      "gen_random_bytes",
                                      "clock_timestamp",
                                      "timeofday",
                                      "nextval",
                                      "currval",
                                      "lastval",
                                      "uuid_generate_v1",
                                      "uuid_generate_v1mc",
                                      "uuid_generate_v4",
                                      "txid_current",
                                      "pg_current_xact_id"};

// The call of a volatile function, wherever it stands.
std::optional<SqlToken> FindVolatileCall(Tokens tokens) {
  for (std::size_t at = 0; at + 1 < tokens.size(); ++at) {
    if (IsOneOf(tokens[at], kVolatileFunctions) && Is(tokens[at + 1], "(")) return tokens[at];
  }
  return std::nullopt;
}

class ActionFinder {
 public:
  ActionFinder(const SqlStatement& statement, const std::string& table, const LintReport& report)
      : statement_(statement), table_(table), report_(report) {}

  void Look(Tokens action) {
    const SqlToken& first = action.front();
    if (const std::optional<ColumnDefinition> column = ParseAddedColumn(action)) {
      LookAtColumn(first, *column);
    } else if (Begins(action, {"ADD"})) {
      LookAtConstraint(first, action);
    } else if (Begins(action, {"ALTER"})) {
      LookAtChange(first, action);
    } else if (Begins(action, {"SET", "LOGGED"}) || Begins(action, {"SET", "UNLOGGED"}) ||
               Begins(action, {"SET", "ACCESS", "METHOD"}) ||
               Begins(action, {"SET", "TABLESPACE"})) {
      Report(first, "table-rewrite",
             absl::StrCat("all of ", table_, " is written anew while nobody can read it"));
    }
  }

 private:
  void LookAtColumn(const SqlToken& first, const ColumnDefinition& column) {
    const std::optional<Tokens> value = Find(column.type, {"DEFAULT"});
    const bool has_value = value && !Begins(*value, {"DEFAULT", "NULL"});
    const bool is_filled = has_value || Has(column.type, {"GENERATED"}) || IsSerial(column.type);
    if (Has(column.type, {"NOT", "NULL"}) && !is_filled) {
      Report(first, "add-column-not-null",
             absl::StrCat("this fails if ", table_,
                          " has a row, and old releases cannot insert; give "
                          "a DEFAULT, or add the column without NOT NULL"));
    }
    LookAtRewrite(first, column, value);
    if (Has(column.type, {"CHECK"})) {
      Report(
          first, "constraint-not-valid",
          absl::StrCat("all rows of ", table_,
                       " are checked while nobody can use it; add the column, then ADD CONSTRAINT "
                       "... NOT VALID, and VALIDATE CONSTRAINT in the next file"));
    }
    // Nothing is looked up for NULLs.
    if (Has(column.type, {"REFERENCES"}) && has_value) ReportForeignKey(first);
    if (Has(column.type, {"UNIQUE"}) || Has(column.type, {"PRIMARY", "KEY"})) ReportUnique(first);
  }

  static bool IsSerial(Tokens type) {
    return !type.empty() && IsOneOf(type.front(), {"serial", "bigserial", "smallserial", "serial4",
                                                   "serial8", "serial2"});
  }

  void LookAtRewrite(const SqlToken& first, const ColumnDefinition& column,
                     const std::optional<Tokens>& value) {
    const std::string what =
        absl::StrCat("all rows of ", table_, " are written anew while nobody can use it; ");
    const std::optional<SqlToken> call = value ? FindVolatileCall(*value) : std::nullopt;
    if (call) {
      Report(first, "volatile-default",
             absl::StrCat(call->text, "() differs from row to row: ", what,
                          "add the column without it, then ALTER COLUMN ... SET DEFAULT, then fill "
                          "the old rows in batches"));
    } else if (IsSerial(column.type) || Has(column.type, {"AS", "IDENTITY"})) {
      Report(first, "volatile-default",
             absl::StrCat("each row gets a number of its own: ", what,
                          "add a bigint, then SET DEFAULT nextval(...), then fill the old rows in "
                          "batches"));
    } else if (Has(column.type, {"STORED"})) {
      Report(first, "table-rewrite",
             absl::StrCat(what, "add a plain column that the program or a trigger fills"));
    }
  }

  void LookAtConstraint(const SqlToken& first, Tokens action) {
    Take(action, {"ADD"});
    if (Take(action, {"CONSTRAINT"})) TakeName(action);
    if (Has(action, {"NOT", "VALID"}) || Has(action, {"USING", "INDEX"})) return;
    if (Begins(action, {"CHECK"})) {
      Report(
          first, "constraint-not-valid",
          absl::StrCat("all rows of ", table_,
                       " are checked while nobody can use it; NOT VALID, and VALIDATE CONSTRAINT "
                       "in the next file"));
    } else if (Begins(action, {"FOREIGN", "KEY"})) {
      ReportForeignKey(first);
    } else if (Begins(action, {"UNIQUE"}) || Begins(action, {"PRIMARY", "KEY"}) ||
               Begins(action, {"EXCLUDE"})) {
      ReportUnique(first);
    }
  }

  void ReportForeignKey(const SqlToken& first) {
    Report(
        first, "constraint-not-valid",
        absl::StrCat("all rows of ", table_,
                     " are looked up while nobody can write to it or to the table referenced; ADD "
                     "CONSTRAINT ... NOT VALID, and VALIDATE CONSTRAINT in the next file"));
  }

  void ReportUnique(const SqlToken& first) {
    Report(
        first, "unique-without-index",
        absl::StrCat("the index is built while nobody can use ", table_,
                     "; CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT ... USING INDEX in "
                     "the next file"));
  }

  void LookAtChange(const SqlToken& first, Tokens action) {
    Take(action, {"ALTER"});
    Take(action, {"COLUMN"});
    TakeName(action);
    if (Begins(action, {"TYPE"}) || Begins(action, {"SET", "DATA", "TYPE"})) {
      Report(
          first, "alter-column-type",
          absl::StrCat("all rows of ", table_,
                       " may be written anew while nobody can use it, and old releases read "
                       "another type; add a column, write both, fill it in batches, drop the old "
                       "one in a later release"));
    } else if (Begins(action, {"SET", "NOT", "NULL"})) {
      Report(
          first, "set-not-null",
          absl::StrCat("all rows of ", table_,
                       " are checked while nobody can use it; ADD CONSTRAINT ... CHECK (... IS NOT "
                       "NULL) NOT VALID, VALIDATE CONSTRAINT in the next file, and keep that"));
    }
  }

  void Report(const SqlToken& token, absl::string_view rule, std::string message) {
    report_({statement_, token, rule, std::move(message)});
  }

  const SqlStatement& statement_;
  const std::string& table_;
  const LintReport& report_;
};

}  // namespace

void FindLongActions(const SqlStatement& statement, const AlteredTable& altered,
                     const LintReport& report) {
  ActionFinder finder(statement, altered.table, report);
  for (const Tokens action : altered.actions) finder.Look(action);
}

}  // namespace parley::db
