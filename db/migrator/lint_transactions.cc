#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "db/migrator/lint_rules.h"

namespace parley::db {
namespace {

// The first of the words that PostgreSQL refuses inside a transaction.
std::optional<SqlToken> FindOutsideOnly(Tokens tokens) {
  const SqlToken& first = tokens.front();
  if (Begins(tokens, {"VACUUM"}) || Begins(tokens, {"ALTER", "SYSTEM"}) ||
      Begins(tokens, {"CREATE", "DATABASE"}) || Begins(tokens, {"DROP", "DATABASE"}) ||
      Begins(tokens, {"CREATE", "TABLESPACE"}) || Begins(tokens, {"DROP", "TABLESPACE"}) ||
      Begins(tokens, {"REINDEX", "DATABASE"}) || Begins(tokens, {"REINDEX", "SYSTEM"}) ||
      Begins(tokens, {"REINDEX", "SCHEMA"}) || Begins(tokens, {"CREATE", "SUBSCRIPTION"}) ||
      (Begins(tokens, {"CLUSTER"}) && tokens.size() == 1)) {
    return first;
  }
  // REFRESH MATERIALIZED VIEW CONCURRENTLY is at home in one.
  if (!IsOneOf(first, {"CREATE", "DROP", "REINDEX", "ALTER"})) return std::nullopt;
  for (const SqlToken& token : tokens) {
    if (Is(token, "CONCURRENTLY")) return token;
  }
  return std::nullopt;
}

class TransactionFinder {
 public:
  TransactionFinder(const LintSection& section, const LintReport& report)
      : section_(section), report_(report) {}

  void Run() {
    for (const SqlStatement& statement : section_.statements) {
      statement_ = &statement;
      const Tokens tokens = statement.tokens;
      LookAtNeed(tokens);
      LookAtControl(tokens);
      LookAtSetting(tokens);
      LookAtClient(tokens);
      if (section_.section.is_transactional) LookAtEnumValue(tokens);
    }
  }

 private:
  void LookAtNeed(Tokens tokens) {
    const std::optional<SqlToken> outside = FindOutsideOnly(tokens);
    if (section_.section.is_transactional) {
      if (!outside) return;
      Report(*outside, "cannot-run-in-transaction",
             "PostgreSQL refuses this inside a transaction; put it alone in a file with "
             "transaction:false and +goose NO TRANSACTION");
    } else if (!outside && !IsOneOf(tokens.front(), {"CALL", "DO"})) {
      // Procedures may commit as they go.
      Report(tokens.front(), "needless-no-transaction",
             "this can run in a transaction, where an error leaves nothing behind; take "
             "transaction:false away");
    }
  }

  void LookAtControl(Tokens tokens) {
    // What begins or ends a whole transaction is refused when the file is read.
    if (!IsOneOf(tokens.front(), {"SAVEPOINT", "RELEASE", "ROLLBACK"})) return;
    Report(tokens.front(), "transaction-control",
           "a file is applied completely or not at all; leave this out");
  }

  void LookAtSetting(Tokens tokens) {
    const SqlToken& first = tokens.front();
    const bool is_setting =
        (Begins(tokens, {"SET"}) && !Begins(tokens, {"SET", "LOCAL"}) &&
         !Begins(tokens, {"SET", "TRANSACTION"}) && !Begins(tokens, {"SET", "CONSTRAINTS"})) ||
        IsOneOf(first, {"RESET", "DISCARD"});
    for (std::size_t at = 0; at + 1 < tokens.size(); ++at) {
      if (!Is(tokens[at], "set_config")) continue;
      const std::vector<Tokens> arguments = SplitAtCommas(Parenthesized(tokens.subspan(at + 1)));
      if (arguments.size() == 3 && !Begins(arguments[2], {"true"})) ReportSetting(tokens[at]);
    }
    if (is_setting) ReportSetting(first);
  }

  void ReportSetting(const SqlToken& token) {
    Report(token, "session-setting",
           "this holds for the files after it too, with some migrators; SET LOCAL ends with the "
           "transaction");
  }

  void LookAtClient(Tokens tokens) {
    const SqlToken& first = tokens.front();
    const std::optional<Tokens> from = Find(tokens, {"FROM", "STDIN"});
    if (Is(first, "\\") || (Begins(tokens, {"COPY"}) && from)) {
      Report(first, "client-command",
             "this is for psql, and the server does not know it; INSERT what is wanted");
    }
  }

  void LookAtEnumValue(Tokens tokens) {
    for (const SqlToken& token : tokens) {
      for (const absl::string_view value : new_values_) {
        if (token.kind != SqlToken::Kind::kString || token.text != value) continue;
        Report(
            token, "enum-value-used",
            "a value cannot be used in the transaction that added it (SQLSTATE 55P04); use it in "
            "the next file");
      }
    }
    Tokens rest = tokens;
    if (!Take(rest, {"ALTER", "TYPE"})) return;
    TakeName(rest);
    if (!Take(rest, {"ADD", "VALUE"})) return;
    Take(rest, {"IF", "NOT", "EXISTS"});
    if (!rest.empty()) new_values_.push_back(rest.front().text);
  }

  void Report(const SqlToken& token, absl::string_view rule, std::string message) {
    report_({*statement_, token, rule, std::move(message)});
  }

  const LintSection& section_;
  const LintReport& report_;
  const SqlStatement* statement_ = nullptr;
  std::vector<absl::string_view> new_values_;  // of enums, with their quotes
};

}  // namespace

void FindTransactionFaults(const LintSection& section, const LintReport& report) {
  TransactionFinder(section, report).Run();
}

}  // namespace parley::db
