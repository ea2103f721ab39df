// What a database says has been applied to it, and how that compares with the migrations known
// here.
//
// public.schema_migrations has one row a version that was applied completely. dbmate and Rails keep
// the same table and write nothing but `version`, so every other column may be NULL, and may be
// missing until the first file is applied here.
//
// public.schema_migration_log is the journal: one row an attempt. What runs in a transaction writes
// its row in that; a section outside one writes "running" first, and what stays "running" was
// interrupted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "db/migrator/connection.h"
#include "db/migrator/migration_set.h"

namespace parley::db {

enum class Direction { kUp, kDown };
absl::string_view DirectionName(Direction direction);  // "up", "down"

struct AppliedMigration {
  std::string version;
  std::optional<std::string> checksum;  // of the file as it was applied; none: another tool's row
  Phase phase = Phase::kNone;
};

// A section outside a transaction of which the end was not recorded.
struct Interrupted {
  std::string version;
  Direction direction = Direction::kUp;
};

struct History {
  bool has_table = false;
  bool is_complete = false;               // the table has our columns, and the journal is there
  bool is_journal_hidden = false;         // this role may not read it, so nothing is `interrupted`
  std::vector<AppliedMigration> applied;  // sorted by version
  std::vector<Interrupted> interrupted;

  // Empty if nothing is applied.
  std::string Newest() const { return applied.empty() ? "" : applied.back().version; }
};

// Reads without taking any lock that a migration would wait for. kMismatch if the table is of
// another kind than ours (golang-migrate's has the same name).
absl::StatusOr<History> ReadHistory(Connection& connection);

// SQL, each one or more statements that end with a semicolon. None needs anything escaped:
// versions, names and checksums are letters, digits, dots and underscores.

// Makes the tables, or adds what an older release or dbmate has not made; harmless where all is
// there.
std::string EnsureHistorySql();
// The version is applied: a row of the history, and one of the journal.
std::string RecordUpSql(const Migration& migration);
// The version is not applied any more.
std::string RecordDownSql(const Migration& migration);
// The history alone; the journal keeps the action: "stamp" or "adopt".
std::string StampSql(const Migration& migration, absl::string_view action);
std::string UnstampSql(absl::string_view version, absl::string_view action);
// What was applied was the file as it is now. Needs the version's row.
std::string AcceptSql(const Migration& migration);

// The journal of a section outside a transaction: before it; after it, with the history; and when
// it has done nothing. `error` is a quoted literal.
std::string BeginLogSql(const Migration& migration, Direction direction);
std::string EndLogSql(const Migration& migration, Direction direction);
std::string CloseLogSql(absl::string_view version, absl::string_view error);
// A row of the journal for an attempt that failed and left nothing. `error` is a quoted literal.
std::string FailedLogSql(const Migration& migration, Direction direction, absl::string_view error);

// A set of migrations beside a history. The pointers are into the set.
struct SchemaState {
  std::vector<const Migration*> applied;
  std::vector<const Migration*> pending;
  std::vector<const Migration*> out_of_order;  // those pending that are older than one applied
  std::vector<const Migration*> changed;       // applied with another text than the file has now
  std::vector<const Migration*> unverified;    // applied without a checksum
  std::vector<AppliedMigration> missing;       // applied, not in the set, and older than its newest
  std::vector<AppliedMigration> ahead;         // applied, and newer than all of the set
  std::vector<Interrupted> interrupted;
};
SchemaState CompareSchema(const MigrationSet& set, const History& history);

// kMismatch for what is changed or missing; the text lists all, and says what mends it. Neither
// pending nor ahead is a problem, and what was interrupted may be taken up again
// (concurrent_section.h).
absl::Status CheckHistory(const SchemaState& state);

}  // namespace parley::db
