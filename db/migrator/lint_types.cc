#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "db/migrator/lint_rules.h"

namespace parley::db {
namespace {

class TypeFinder {
 public:
  TypeFinder(const LintSection& section, const LintReport& report)
      : section_(section), report_(report) {}

  void Run() {
    for (const SqlStatement& statement : section_.statements) {
      statement_ = &statement;
      if (const auto created = ParseCreateTable(statement.tokens)) LookAtTable(*created);
      if (const auto altered = ParseAlterTable(statement.tokens)) LookAtActions(*altered);
    }
  }

 private:
  void LookAtTable(const CreatedTable& created) {
    const std::string key = KeyColumn(created);
    for (const Tokens element : created.elements) {
      const std::optional<ColumnDefinition> column = ParseColumn(element);
      if (!column) continue;
      LookAtType(column->type);
      const bool is_key = Has(column->type, {"PRIMARY", "KEY"}) || column->name == key;
      const bool is_small =
          IsOneOf(column->type.front(), {"int", "integer", "int4", "smallint", "int2"});
      if (is_key && is_small) ReportSmallKey(column->type.front());
    }
  }

  // The one column of a primary key that is a constraint of the table.
  static std::string KeyColumn(const CreatedTable& created) {
    for (Tokens element : created.elements) {
      if (Take(element, {"CONSTRAINT"})) TakeName(element);
      if (!Take(element, {"PRIMARY", "KEY"})) continue;
      std::vector<Tokens> columns = SplitAtCommas(Parenthesized(element));
      return columns.size() == 1 ? TakeName(columns.front()) : "";
    }
    return "";
  }

  void LookAtActions(const AlteredTable& altered) {
    for (Tokens action : altered.actions) {
      if (const std::optional<ColumnDefinition> column = ParseAddedColumn(action)) {
        LookAtType(column->type);
      } else if (Take(action, {"ALTER"})) {
        Take(action, {"COLUMN"});
        TakeName(action);
        if (Begins(action, {"ADD", "GENERATED"})) ReportIdentity(action.front());
        Take(action, {"SET", "DATA"});
        if (Take(action, {"TYPE"}) && !action.empty()) LookAtType(action);
      }
    }
  }

  void LookAtType(Tokens type) {
    const SqlToken& first = type.front();
    if (IsOneOf(first, {"serial", "serial4", "smallserial", "serial2"})) ReportSmallKey(first);
    if (const std::optional<Tokens> identity = Find(type, {"AS", "IDENTITY"})) {
      ReportIdentity(identity->front());
    }
    if (Take(type, {"TIMESTAMP"})) {
      SkipParenthesized(type);
      if (!Begins(type, {"WITH", "TIME", "ZONE"})) {
        Report(first, "timestamp-without-zone",
               "what moment this is depends on who reads it; timestamptz");
      }
      return;
    }
    const bool is_limited =
        (Take(type, {"varchar"}) || Take(type, {"character", "varying"}) ||
         Take(type, {"character"}) || Take(type, {"char"}) || Take(type, {"bpchar"})) &&
        Begins(type, {"("});
    if (is_limited) {
      Report(
          first, "limited-text",
          "the limit cannot be changed without a look at all rows, and char(n) pads with blanks; "
          "text with CHECK (char_length(...) <= n)");
    }
  }

  void ReportSmallKey(const SqlToken& token) {
    Report(token, "small-key",
           "there are 2,147,483,647 of them at most, and to change the type writes the table anew; "
           "bigint");
  }

  void ReportIdentity(const SqlToken& token) {
    Report(token, "identity-column",
           "a table with an identity column cannot be distributed; a sequence and DEFAULT "
           "nextval(...), or bigserial in a new table");
  }

  void Report(const SqlToken& token, absl::string_view rule, std::string message) {
    report_({*statement_, token, rule, std::move(message)});
  }

  const LintSection& section_;
  const LintReport& report_;
  const SqlStatement* statement_ = nullptr;
};

}  // namespace

void FindRegrettedTypes(const LintSection& section, const LintReport& report) {
  TypeFinder(section, report).Run();
}

}  // namespace parley::db
