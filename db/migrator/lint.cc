#include "db/migrator/lint.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/text.h"
#include "db/migrator/lint_allow.h"
#include "db/migrator/lint_rules.h"

namespace parley::db {
namespace {

constexpr LintRule kRules[] = {
    {"file-form", "a file that the migrator cannot read"},
    {"no-phase", "no \"-- parley:phase\": the services would have to be stopped for it"},
    {"no-way-back", "a down section without a statement"},
    {"goose-markers", "markers that goose needs beside ours, missing or out of place"},
    {"goose-statement", "a statement that goose would cut in two, or not find the end of"},
    {"index-not-concurrently", "CREATE INDEX or REINDEX that keeps writers waiting"},
    {"index-if-not-exists", "CREATE INDEX IF NOT EXISTS, content with an INVALID one"},
    {"add-column-not-null", "ADD COLUMN ... NOT NULL without a default"},
    {"volatile-default", "ADD COLUMN with a default that differs from row to row"},
    {"alter-column-type", "ALTER COLUMN ... TYPE"},
    {"set-not-null", "ALTER COLUMN ... SET NOT NULL"},
    {"constraint-not-valid", "CHECK or FOREIGN KEY that is added without NOT VALID"},
    {"validate-in-same-file", "VALIDATE CONSTRAINT in the transaction that added it"},
    {"unique-without-index", "UNIQUE, PRIMARY KEY or EXCLUDE without USING INDEX"},
    {"table-rewrite", "VACUUM FULL, CLUSTER, SET LOGGED, ... STORED and the like"},
    {"whole-table-write", "UPDATE or DELETE of every row in one transaction"},
    {"write-under-lock", "UPDATE or DELETE of rows of a table that the same file has altered"},
    {"lock-table", "LOCK TABLE"},
    {"drop-outside-contract", "DROP of a table, column, view, function ... if not in contract"},
    {"rename-outside-contract", "RENAME of a table, column, type ... if not in contract"},
    {"breaks-old-release", "TRUNCATE, REVOKE, DROP DEFAULT or SET SCHEMA, if not in contract"},
    {"cascade", "DROP or TRUNCATE ... CASCADE"},
    {"cannot-run-in-transaction", "CONCURRENTLY, VACUUM, ... in a file that is a transaction"},
    {"needless-no-transaction", "transaction:false for what can run in a transaction"},
    {"transaction-control", "SAVEPOINT, RELEASE, ROLLBACK TO"},
    {"session-setting", "SET without LOCAL, set_config for the session, RESET, DISCARD"},
    {"enum-value-used", "a value that ALTER TYPE ... ADD VALUE added in the same transaction"},
    {"client-command", "psql's commands, COPY FROM STDIN"},
    {"small-key", "serial, or a primary key that is an int"},
    {"identity-column", "GENERATED ... AS IDENTITY"},
    {"timestamp-without-zone", "timestamp, where timestamptz is meant"},
    {"limited-text", "varchar(n), char(n)"},
    {"parley-comment", "\"-- parley:\" that is not known or well formed, or that nothing needs"},
};

absl::string_view VersionOf(const MigrationFile& file) {
  return absl::string_view(file.file_name).substr(0, 14);
}

// "name.sql:3:7: text" or "name.sql:3: text", as ParseMigration says it.
LintFinding FindingOf(const MigrationFile& file, absl::string_view text) {
  LintFinding finding{
      .file_name = file.file_name, .line = 1, .column = 1, .rule = "file-form", .message = ""};
  absl::ConsumePrefix(&text, file.file_name);
  for (std::int32_t* number : {&finding.line, &finding.column}) {
    absl::string_view rest = text;
    if (!absl::ConsumePrefix(&rest, ":")) break;
    const std::size_t end = std::min(rest.find(':'), rest.size());
    std::int32_t value = 0;
    if (!absl::SimpleAtoi(rest.substr(0, end), &value)) break;
    *number = value;
    text = rest.substr(end);
  }
  absl::ConsumePrefix(&text, ":");
  finding.message = std::string(absl::StripAsciiWhitespace(text));
  return finding;
}

class FileLinter {
 public:
  FileLinter(const MigrationFile& file, const Migration& migration)
      : file_(file), migration_(migration) {
    for (const absl::string_view line : absl::StrSplit(file.text, '\n')) {
      lines_.push_back(absl::StripSuffix(line, "\r"));
    }
    absl::ConsumePrefix(&lines_.front(), "\xEF\xBB\xBF");
  }

  std::vector<LintFinding> Run() {
    Allowances allowances(lines_, migration_);
    allowances_ = &allowances;
    if (migration_.phase == Phase::kNone) {
      Report({migration_.up.line - 1, "no-phase",
              "without \"-- parley:phase expand\" or contract above it, all services have to be "
              "stopped for this file; see CONTRIBUTING.md"});
    }
    if (migration_.down.is_empty) {
      Report({migration_.down.line - 1, "no-way-back",
              "nothing undoes the up section; write what does, or allow this and say why"});
    }
    FindGooseFaults(migration_, lines_, [this](const LineFinding& finding) { Report(finding); });
    LookAtUp();
    LookAtDown();
    allowances.ReportFaults([this](const LineFinding& finding) { Report(finding); });
    std::stable_sort(findings_.begin(), findings_.end(), [](const auto& a, const auto& b) {
      return std::tie(a.line, a.column) < std::tie(b.line, b.column);
    });
    return std::move(findings_);
  }

 private:
  void LookAtUp() {
    const LintSection up = SectionOf(migration_.up);
    const LintReport report = ReportFor(migration_.up);
    FindLongLocks(up, report);
    FindBrokenReleases(up, report);
    FindTransactionFaults(up, report);
    FindRegrettedTypes(up, report);
    FindGooseCuts(up, lines_, report);
  }

  // The way back is for emergencies; it need not be a road on which others go on.
  void LookAtDown() {
    const LintSection down = SectionOf(migration_.down);
    const LintReport report = ReportFor(migration_.down);
    FindTransactionFaults(down, report);
    FindGooseCuts(down, lines_, report);
  }

  LintSection SectionOf(const Section& section) const {
    // ParseMigration has split it before.
    return {section, migration_.phase, SplitStatements(section.sql).value()};
  }

  LintReport ReportFor(const Section& section) {
    return [this, &section](const StatementFinding& finding) {
      const FilePosition place = PlaceOf(section, finding.token.offset);
      const std::int32_t line = PlaceOf(section, finding.statement.offset).line;
      if (allowances_->Allow(finding.rule, line)) return;
      findings_.push_back({.file_name = file_.file_name,
                           .line = place.line,
                           .column = place.column,
                           .rule = std::string(finding.rule),
                           .message = finding.message});
    };
  }

  void Report(const LineFinding& finding) {
    if (allowances_->Allow(finding.rule, finding.line)) return;
    findings_.push_back({.file_name = file_.file_name,
                         .line = finding.line,
                         .column = 1,
                         .rule = std::string(finding.rule),
                         .message = finding.message});
  }

  static FilePosition PlaceOf(const Section& section, std::size_t offset) {
    const auto before = CountCodePoints(absl::string_view(section.sql).substr(0, offset));
    return LocateInFile(section, static_cast<std::int32_t>(before.value_or(0)) + 1);
  }

  const MigrationFile& file_;
  const Migration& migration_;
  std::vector<absl::string_view> lines_;
  Allowances* allowances_ = nullptr;
  std::vector<LintFinding> findings_;
};

}  // namespace

std::span<const LintRule> LintRules() { return kRules; }

std::vector<LintFinding> LintMigration(const MigrationFile& file) {
  const absl::StatusOr<Migration> migration = ParseMigration(file);
  if (!migration.ok()) return {FindingOf(file, migration.status().message())};
  return FileLinter(file, *migration).Run();
}

std::vector<LintFinding> LintMigrations(std::vector<MigrationFile> files, absl::string_view since) {
  std::sort(files.begin(), files.end(), [](const MigrationFile& a, const MigrationFile& b) {
    return a.file_name < b.file_name;
  });
  std::vector<LintFinding> findings;
  for (const MigrationFile& file : files) {
    const absl::string_view version = VersionOf(file);
    if (version <= since) continue;
    for (LintFinding& finding : LintMigration(file)) findings.push_back(std::move(finding));
    // Of two with one version the first is judged for itself.
    const MigrationFile* previous = &file == &files.front() ? nullptr : &file - 1;
    if (previous == nullptr || VersionOf(*previous) != version) continue;
    findings.push_back({.file_name = file.file_name,
                        .line = 1,
                        .column = 1,
                        .rule = "file-form",
                        .message = absl::StrCat("the version is that of ", previous->file_name,
                                                "; give one of the two a later one")});
  }
  return findings;
}

}  // namespace parley::db
