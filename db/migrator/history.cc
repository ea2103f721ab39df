#include "db/migrator/history.h"

#include <algorithm>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace parley::db {

absl::StatusOr<History> ReadHistory(Connection& connection) {
  PARLEY_ASSIGN_OR_RETURN(
      const Result type,
      connection.Query("SELECT atttypid::regtype::text FROM pg_catalog.pg_attribute"
                       " WHERE attrelid = pg_catalog.to_regclass('public.schema_migrations')"
                       " AND attname = 'version' AND NOT attisdropped"));
  History history;
  history.has_table = PQntuples(type.get()) > 0;
  if (!history.has_table) return history;
  if (FieldOf(type, 0, 0) != "character varying" && FieldOf(type, 0, 0) != "text") {
    return absl::FailedPreconditionError(
        absl::StrCat("public.schema_migrations belongs to another tool: its column \"version\" is ",
                     FieldOf(type, 0, 0), " and not varchar. Use a database of its own."));
  }
  PARLEY_ASSIGN_OR_RETURN(const Result rows,
                          connection.Query("SELECT version FROM public.schema_migrations"));
  for (int row = 0; row < PQntuples(rows.get()); ++row) {
    history.versions.emplace_back(FieldOf(rows, row, 0));
  }
  std::sort(history.versions.begin(), history.versions.end());
  return history;
}

std::string CreateHistorySql() {
  return "CREATE TABLE public.schema_migrations (\n"
         "  version varchar PRIMARY KEY,\n"
         "  applied_at timestamptz DEFAULT now()\n"
         ");";
}

std::string InsertHistorySql(const Migration& migration) {
  // Digits only, so that nothing has to be escaped.
  return absl::StrCat("INSERT INTO public.schema_migrations (version) VALUES ('", migration.version,
                      "');");
}

SchemaState CompareSchema(const MigrationSet& set, const History& history) {
  SchemaState state;
  std::set<std::string> unknown(history.versions.begin(), history.versions.end());
  const std::string newest = history.versions.empty() ? "" : history.versions.back();
  for (const Migration& migration : set.migrations()) {
    if (unknown.erase(migration.version) > 0) {
      state.applied.push_back(&migration);
      continue;
    }
    state.pending.push_back(&migration);
    if (migration.version < newest) state.out_of_order.push_back(&migration);
  }
  state.unknown.assign(unknown.begin(), unknown.end());
  return state;
}

}  // namespace parley::db
