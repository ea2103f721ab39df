#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "db/migrator/lint_rules.h"

namespace parley::db {
namespace {

// What kind of thing DROP, ALTER or CREATE is about, and what has been left of the tokens.
struct Thing {
  enum class Kind { kTable, kCode, kOther };  // kCode can be replaced by another of the same name
  Kind kind = Kind::kOther;
  Tokens rest;
};

Thing TakeThing(Tokens tokens) {
  if (Take(tokens, {"TABLE"}) || Take(tokens, {"FOREIGN", "TABLE"}) || Take(tokens, {"SEQUENCE"}) ||
      Take(tokens, {"TYPE"}) || Take(tokens, {"DOMAIN"}) || Take(tokens, {"SCHEMA"}) ||
      Take(tokens, {"EXTENSION"})) {
    return {Thing::Kind::kTable, tokens};
  }
  if (Take(tokens, {"VIEW"}) || Take(tokens, {"MATERIALIZED", "VIEW"}) ||
      Take(tokens, {"FUNCTION"}) || Take(tokens, {"PROCEDURE"}) || Take(tokens, {"TRIGGER"})) {
    return {Thing::Kind::kCode, tokens};
  }
  return {Thing::Kind::kOther, tokens};
}

// Of the view, function or trigger that the statement creates.
std::optional<std::string> CreatedName(Tokens tokens) {
  if (!Take(tokens, {"CREATE"})) return std::nullopt;
  Take(tokens, {"OR", "REPLACE"});
  Take(tokens, {"CONSTRAINT"});
  Thing thing = TakeThing(tokens);
  if (thing.kind != Thing::Kind::kCode) return std::nullopt;
  return TakeName(thing.rest);
}

class BreakFinder {
 public:
  BreakFinder(const LintSection& section, const LintReport& report)
      : section_(section), report_(report) {}

  void Run() {
    for (const SqlStatement& statement : section_.statements) {
      statement_ = &statement;
      const Tokens tokens = statement.tokens;
      if (Begins(tokens, {"DROP"}) || Begins(tokens, {"TRUNCATE"})) LookAtCascade(tokens);
      if (section_.phase != Phase::kContract) Look(tokens);
      NoteCreation(tokens);
    }
  }

 private:
  void LookAtCascade(Tokens tokens) {
    const std::optional<Tokens> cascade = Find(tokens, {"CASCADE"});
    if (!cascade) return;
    Report(cascade->front(), "cascade",
           "CASCADE takes with it whatever hangs on this when it runs; name all that is to go");
  }

  void Look(Tokens tokens) {
    if (Begins(tokens, {"DROP"})) LookAtDrop(tokens);
    if (Begins(tokens, {"ALTER"})) LookAtAlter(tokens);
    if (Begins(tokens, {"TRUNCATE"})) LookAtTruncate(tokens);
    if (Begins(tokens, {"REVOKE"})) LookAtRevoke(tokens);
  }

  void NoteCreation(Tokens tokens) {
    if (const auto table = ParseCreateTable(tokens)) created_.insert(table->table);
    if (std::optional<std::string> name = CreatedName(tokens)) created_.insert(*std::move(name));
  }

  void LookAtRevoke(Tokens tokens) {
    const std::optional<Tokens> on = Find(tokens, {"ON"});
    if (on) {
      const Thing thing = TakeThing(on->subspan(1));
      Tokens rest = thing.rest;
      if (created_.contains(TakeName(rest))) return;
    }
    ReportBroken(tokens.front(), "releases that are at work lose a right that they may use");
  }

  void LookAtDrop(Tokens tokens) {
    Thing thing = TakeThing(tokens.subspan(1));
    if (thing.kind == Thing::Kind::kOther) return;
    Take(thing.rest, {"IF", "EXISTS"});
    for (Tokens part : SplitAtCommas(thing.rest)) {
      const SqlToken& first = part.front();
      const std::string name = TakeName(part);
      if (created_.contains(name)) continue;
      if (thing.kind == Thing::Kind::kCode && IsMadeAgain(name)) continue;
      ReportDrop(first, name);
    }
  }

  // Whether a later statement creates a view, function or trigger of this name.
  bool IsMadeAgain(const std::string& name) const {
    for (const SqlStatement& later : section_.statements) {
      if (later.offset > statement_->offset && CreatedName(later.tokens) == name) return true;
    }
    return false;
  }

  void LookAtAlter(Tokens tokens) {
    if (const std::optional<AlteredTable> altered = ParseAlterTable(tokens)) {
      if (created_.contains(altered->table)) return;
      for (const Tokens action : altered->actions) LookAtAction(altered->table, action);
      return;
    }
    Tokens rest = tokens.subspan(1);
    const Thing thing = TakeThing(rest);
    const std::optional<Tokens> rename = Find(tokens, {"RENAME"});
    // Nobody calls an index by its name.
    if (rename && thing.kind != Thing::Kind::kOther) ReportRename(rename->front());
  }

  void LookAtAction(const std::string& table, Tokens action) {
    const SqlToken& first = action.front();
    if (Take(action, {"DROP"})) {
      if (Begins(action, {"CONSTRAINT"})) return;
      Take(action, {"COLUMN"});
      Take(action, {"IF", "EXISTS"});
      ReportDrop(first, absl::StrCat(table, ".", TakeName(action)));
    } else if (Begins(action, {"RENAME"}) && !Begins(action, {"RENAME", "CONSTRAINT"})) {
      ReportRename(first);
    } else if (Begins(action, {"SET", "SCHEMA"})) {
      ReportBroken(first, "releases that are at work look for the table where it was");
    } else if (Begins(action, {"ALTER"}) && Has(action, {"DROP", "DEFAULT"})) {
      ReportBroken(first, "releases that are at work may rely on the default");
    }
  }

  void LookAtTruncate(Tokens tokens) {
    const SqlToken& first = tokens.front();
    Take(tokens, {"TRUNCATE"});
    Take(tokens, {"TABLE"});
    Take(tokens, {"ONLY"});
    const std::string table = TakeName(tokens);
    if (created_.contains(table)) return;
    ReportBroken(first, absl::StrCat("releases that are at work lose the rows of ", table));
  }

  void ReportDrop(const SqlToken& token, absl::string_view name) {
    Report(
        token, "drop-outside-contract",
        absl::StrCat("releases that are at work may use ", name,
                     "; stop using it in one release, and drop it in a file of the phase contract "
                     "in the next"));
  }

  void ReportRename(const SqlToken& token) {
    Report(
        token, "rename-outside-contract",
        "releases that are at work know the old name only; add what is new beside it, write both, "
        "and drop the old one in a later release");
  }

  void ReportBroken(const SqlToken& token, absl::string_view why) {
    Report(token, "breaks-old-release",
           absl::StrCat(why,
                        "; do this in a file of the phase contract, in the release after the one "
                        "that stops needing it"));
  }

  void Report(const SqlToken& token, absl::string_view rule, std::string message) {
    report_({*statement_, token, rule, std::move(message)});
  }

  const LintSection& section_;
  const LintReport& report_;
  const SqlStatement* statement_ = nullptr;
  std::set<std::string> created_;  // by the statements so far
};

}  // namespace

void FindBrokenReleases(const LintSection& section, const LintReport& report) {
  BreakFinder(section, report).Run();
}

}  // namespace parley::db
