// What a database says has been applied to it, and how that compares with the migrations known
// here.
//
// The history is public.schema_migrations, one row a version that was applied completely. dbmate
// and Rails keep the same table and write nothing but `version`, so every other column has a
// default and nothing here depends on one.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "db/migrator/connection.h"
#include "db/migrator/migration_set.h"

namespace parley::db {

struct History {
  bool has_table = false;
  std::vector<std::string> versions;  // sorted
};

// Reads without taking any lock that a migration would wait for. FAILED_PRECONDITION if the table
// is of another kind than ours (golang-migrate's has the same name).
absl::StatusOr<History> ReadHistory(Connection& connection);

// SQL, each one statement that ends with a semicolon.
std::string CreateHistorySql();
std::string InsertHistorySql(const Migration& migration);

// A set of migrations beside a history. The pointers are into the set.
struct SchemaState {
  std::vector<const Migration*> applied;
  std::vector<const Migration*> pending;
  std::vector<const Migration*> out_of_order;  // those pending that are older than one applied
  std::vector<std::string> unknown;            // applied, but not in the set
};
SchemaState CompareSchema(const MigrationSet& set, const History& history);

}  // namespace parley::db
