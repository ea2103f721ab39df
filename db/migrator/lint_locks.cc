#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "db/migrator/lint_rules.h"

namespace parley::db {
namespace {

// Walks over a section and remembers what has been done to which table.
class LockFinder {
 public:
  LockFinder(const LintSection& section, const LintReport& report)
      : section_(section), report_(report) {}

  void Run() {
    for (const SqlStatement& statement : section_.statements) {
      Look(statement);
      if (auto created = ParseCreateTable(statement.tokens)) created_.insert(created->table);
    }
  }

 private:
  void Look(const SqlStatement& statement) {
    statement_ = &statement;
    const Tokens tokens = statement.tokens;
    LookAtIndex(tokens);
    LookAtMaintenance(tokens);
    LookAtWrite(tokens);
    if (Begins(tokens, {"LOCK"})) {
      Report(tokens.front(), "lock-table",
             "LOCK TABLE keeps the services waiting until the file is through; let each statement "
             "take the lock it needs");
    }
    const std::optional<AlteredTable> altered = ParseAlterTable(tokens);
    if (!altered || created_.contains(altered->table)) return;
    FindLongActions(statement, *altered, report_);
    LookAtValidation(*altered);
    if (section_.section.is_transactional) altered_.insert(altered->table);
  }

  void LookAtIndex(Tokens tokens) {
    const SqlToken& first = tokens.front();
    if (!Take(tokens, {"CREATE"})) return;
    Take(tokens, {"UNIQUE"});
    if (!Take(tokens, {"INDEX"})) return;
    const bool is_concurrent = Take(tokens, {"CONCURRENTLY"});
    if (Begins(tokens, {"IF", "NOT", "EXISTS"})) {
      Report(tokens.front(), "index-if-not-exists",
             "IF NOT EXISTS is content with an index that an interrupted CREATE INDEX CONCURRENTLY "
             "has left INVALID; leave it out");
    }
    std::optional<Tokens> on = Find(tokens, {"ON"});
    // ON ONLY a partitioned table builds nothing.
    if (is_concurrent || !on || Begins(*on, {"ON", "ONLY"})) return;
    *on = on->subspan(1);
    const std::string table = TakeName(*on);
    if (created_.contains(table)) return;
    Report(
        first, "index-not-concurrently",
        absl::StrCat("nobody can write to ", table,
                     " while the index is built; CREATE INDEX CONCURRENTLY, alone in a file with "
                     "transaction:false"));
  }

  void LookAtMaintenance(Tokens tokens) {
    const SqlToken& first = tokens.front();
    if (Begins(tokens, {"REINDEX"}) && !HasAnywhere(tokens, "CONCURRENTLY")) {
      Report(first, "index-not-concurrently",
             "nobody can write to the table while the index is built again; REINDEX ... "
             "CONCURRENTLY, alone in a file with transaction:false");
    }
    const bool is_full = Begins(tokens, {"VACUUM"}) && HasAnywhere(tokens, "FULL");
    if (is_full || Begins(tokens, {"CLUSTER"})) {
      Report(first, "table-rewrite",
             "the whole table is written anew while nobody can read it; plain VACUUM, or pg_repack "
             "by hand");
    }
  }

  void LookAtWrite(Tokens tokens) {
    if (Begins(tokens, {"WITH"})) {
      std::optional<Tokens> write = Find(tokens, {"UPDATE"});
      if (!write) write = Find(tokens, {"DELETE", "FROM"});
      if (!write || Has(tokens, {"SELECT"}) || Has(tokens, {"INSERT"})) return;
      tokens = *write;
    }
    const SqlToken& first = tokens.front();
    const bool has_condition = Has(tokens, {"WHERE"});
    if (!Take(tokens, {"UPDATE"}) && !Take(tokens, {"DELETE", "FROM"})) return;
    Take(tokens, {"ONLY"});
    const std::string table = TakeName(tokens);
    if (created_.contains(table)) return;
    if (!has_condition) {
      Report(first, "whole-table-write",
             absl::StrCat("every row of ", table,
                          " is locked and written in one transaction; fill it in batches, from the "
                          "program or by hand, or give a WHERE"));
    } else if (altered_.contains(table)) {
      Report(first, "write-under-lock",
             absl::StrCat("the file has altered ", table,
                          ", so nobody can use it while these rows are written; write them in a "
                          "file of its own"));
    }
  }

  // A constraint that is validated in the transaction that added it is no better than one that was
  // never NOT VALID.
  void LookAtValidation(const AlteredTable& altered) {
    for (Tokens action : altered.actions) {
      const SqlToken& first = action.front();
      if (Take(action, {"ADD", "CONSTRAINT"})) {
        const std::string name = TakeName(action);
        if (section_.section.is_transactional) not_valid_.emplace(altered.table, name);
      } else if (Take(action, {"VALIDATE", "CONSTRAINT"})) {
        if (!not_valid_.contains({altered.table, TakeName(action)})) continue;
        Report(first, "validate-in-same-file",
               "the lock that ADD CONSTRAINT took is held while all rows are checked; VALIDATE "
               "CONSTRAINT in the next file");
      }
    }
  }

  static bool HasAnywhere(Tokens tokens, absl::string_view word) {
    for (const SqlToken& token : tokens) {
      if (Is(token, word)) return true;
    }
    return false;
  }

  void Report(const SqlToken& token, absl::string_view rule, std::string message) {
    report_({*statement_, token, rule, std::move(message)});
  }

  const LintSection& section_;
  const LintReport& report_;
  const SqlStatement* statement_ = nullptr;
  // By the statements so far. Nobody else can use these tables before the commit.
  std::set<std::string> created_;
  std::set<std::string> altered_;
  std::set<std::pair<std::string, std::string>> not_valid_;  // table and constraint
};

}  // namespace

void FindLongLocks(const LintSection& section, const LintReport& report) {
  LockFinder(section, report).Run();
}

}  // namespace parley::db
