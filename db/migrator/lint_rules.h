// The rules of lint.h by what they are about. Each function looks at one section of a file.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "db/migrator/lint_tokens.h"
#include "db/migrator/migration_file.h"
#include "db/migrator/sql_text.h"

namespace parley::db {

struct LintSection {
  const Section& section;
  Phase phase;
  std::vector<SqlStatement> statements;  // of section.sql
};

// What is wrong with a statement, and at which of its tokens.
struct StatementFinding {
  const SqlStatement& statement;
  const SqlToken& token;
  absl::string_view rule;
  std::string message;
};
using LintReport = std::function<void(const StatementFinding&)>;

// Statements that keep others waiting for long, or fail on a table that has rows. For up sections.
void FindLongLocks(const LintSection& section, const LintReport& report);

// The same for single actions of ALTER TABLE on a table that exists.
void FindLongActions(const SqlStatement& statement, const AlteredTable& altered,
                     const LintReport& report);

// What releases before the file cannot run with, in a file that is not of the phase contract; and
// what takes with it more than it names. For up sections.
void FindBrokenReleases(const LintSection& section, const LintReport& report);

// What does not go with the section's being a transaction, or not being one; what outlives it.
void FindTransactionFaults(const LintSection& section, const LintReport& report);

// Types and keys that are regretted later. For up sections.
void FindRegrettedTypes(const LintSection& section, const LintReport& report);

// Where goose would read the file otherwise than we do: its markers, and statements that it would
// cut where a line ends with a semicolon. `lines` are those of the file.
struct LineFinding {
  std::int32_t line;  // from 1
  absl::string_view rule;
  std::string message;
};
void FindGooseFaults(const Migration& migration, std::span<const absl::string_view> lines,
                     const std::function<void(const LineFinding&)>& report);
void FindGooseCuts(const LintSection& section, std::span<const absl::string_view> lines,
                   const LintReport& report);

}  // namespace parley::db
