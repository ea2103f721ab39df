#include "db/migrator/other_history.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "db/migrator/problem.h"

namespace parley::db {

namespace {

absl::Status CheckNotTheOriginal(Connection& connection) {
  PARLEY_ASSIGN_OR_RETURN(
      const Result tables,
      connection.Query("SELECT count(*) FROM pg_catalog.unnest(ARRAY['users', 'chats', 'chat_user',"
                       " 'messages']) name WHERE pg_catalog.to_regclass('public.' || name)"
                       " IS NOT NULL"));
  if (FieldOf(tables, 0, 0) != "4") return absl::OkStatus();
  // Another migrator may have made them just now, and the history with them.
  PARLEY_ASSIGN_OR_RETURN(
      const Result history,
      connection.Query("SELECT pg_catalog.to_regclass('public.schema_migrations') IS NOT NULL"));
  if (FieldOf(history, 0, 0) == "t") return absl::OkStatus();
  return ProblemError(Problem::kMismatch,
                      "this database has users, chats, chat_user and messages, but no history of "
                      "migrations. If they are the original application's, `parley-migrate adopt "
                      "--check` says how they are taken over; nothing was changed.");
}

}  // namespace

absl::Status CheckNoOtherHistory(Connection& connection) {
  PARLEY_ASSIGN_OR_RETURN(
      const Result table,
      connection.Query("SELECT pg_catalog.to_regclass('public.goose_db_version') IS NOT NULL"));
  if (FieldOf(table, 0, 0) != "t") return CheckNotTheOriginal(connection);
  // A row a step, up or down; the last one of a version holds. Version 0 is the empty database.
  PARLEY_ASSIGN_OR_RETURN(
      const Result newest,
      connection.Query("SELECT max(version_id) FROM ("
                       "SELECT DISTINCT ON (version_id) version_id, is_applied"
                       " FROM public.goose_db_version ORDER BY version_id, id DESC) AS last"
                       " WHERE is_applied AND version_id > 0"));
  const std::string version(FieldOf(newest, 0, 0));
  if (version.empty()) return absl::OkStatus();
  return ProblemError(Problem::kMismatch,
                      absl::StrCat("goose has brought this database to ", version,
                                   " (public.goose_db_version). `parley-migrate stamp ", version,
                                   "` takes it over; nothing was changed."));
}

}  // namespace parley::db
