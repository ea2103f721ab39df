// What is wrong with migrations before they have run: statements that stop or break the services
// that work while a migration is applied, files that other tools would read otherwise, types that
// are regretted. No database in here: the rules see tokens, and take a table for one with rows in
// it unless the same file has created it.
//
// A statement that breaks a rule with good cause says so above itself:
//
//   -- parley:allow rule-name because of this reason
//   ALTER TABLE ...;
//
// What is allowed so above "-- migrate:up" is allowed in the whole file. An allowance that nothing
// needs is a finding itself.
//
// Most rules are known from others: squawk, strong_migrations, GitLab's guide to migrations.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "db/migrator/migration_file.h"

namespace parley::db {

struct LintRule {
  absl::string_view name;
  absl::string_view summary;  // what it is that the rule finds
};

// All of them, in the order in which they are told of. Static; any thread may read it.
std::span<const LintRule> LintRules();

struct LintFinding {
  std::string file_name;    // without directories
  std::int32_t line = 0;    // from 1
  std::int32_t column = 0;  // from 1, in code points
  std::string rule;
  std::string message;  // what is wrong, and the safe way
};

// The findings of one file, by line and column. One that is no migration has one finding.
std::vector<LintFinding> LintMigration(const MigrationFile& file);

// The findings of a folder, by file. Files up to the version `since` were released, and cannot be
// changed any more: they are passed over. With an empty one none is.
std::vector<LintFinding> LintMigrations(std::vector<MigrationFile> files, absl::string_view since);

}  // namespace parley::db
