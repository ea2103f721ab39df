#include "db/migrator/scratch_database.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "base/random_token.h"
#include "base/status_macros.h"
#include "db/migrator/catalog.h"
#include "db/migrator/connection.h"

namespace parley::db {
namespace {

// The time in the name is the server's, so that it can be compared with the server's. ICU's locale
// is in daticulocale up to PostgreSQL 16, and in datlocale from 17 on.
constexpr absl::string_view kDescribeSql = R"(
SELECT name, format('CREATE DATABASE %I TEMPLATE template0 ENCODING %L LC_COLLATE %L LC_CTYPE %L', name,
                    pg_encoding_to_char(d.encoding), d.datcollate, d.datctype)
             || CASE j ->> 'datlocprovider'
                  WHEN 'i' THEN format(' LOCALE_PROVIDER icu ICU_LOCALE %L', locale)
                  WHEN 'b' THEN format(' LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', locale)
                  ELSE '' END
             || coalesce(' ICU_RULES ' || quote_literal(nullif(j ->> 'daticurules', '')), '')
FROM pg_database AS d
CROSS JOIN to_jsonb(d) AS j
CROSS JOIN coalesce(j ->> 'datlocale', j ->> 'daticulocale') AS locale
CROSS JOIN format('parley_verify_%s_%s', to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISS'), '%token')
  AS name
WHERE d.datname = current_database())";

constexpr absl::string_view kLeftBehindSql = R"(
SELECT format('DROP DATABASE IF EXISTS %I', d.datname)
FROM pg_database AS d
WHERE d.datname ~ '^parley_verify_[0-9]{14}_[0-9a-f]{32}$'
  AND substr(d.datname::text, 15, 14) COLLATE "C"
      < to_char((now() - interval '10 minutes') AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISS')
  AND pg_has_role(d.datdba, 'USAGE')
  AND NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.datid = d.oid))";

// For a database in which everything was made by migrations. CASCADE takes the rest of the list
// along, so that the list must be complete before the first is dropped.
constexpr absl::string_view kEmptySql = R"(
DO $$
DECLARE
  statement text;
BEGIN
  FOREACH statement IN ARRAY ARRAY(
    SELECT format('DROP EXTENSION IF EXISTS %I CASCADE', extname) FROM pg_extension WHERE extname <> 'plpgsql'
    UNION ALL
    SELECT format('DROP SCHEMA IF EXISTS %I CASCADE', nspname) FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')
    UNION ALL
    SELECT format('DROP %s IF EXISTS public.%I CASCADE',
                  CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                    WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, relname)
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
    UNION ALL
    SELECT format('DROP TYPE IF EXISTS public.%I CASCADE', typname)
    FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd', 'r', 'c')
    UNION ALL
    SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', oid::regprocedure)
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace)
  LOOP
    EXECUTE statement;
  END LOOP;
END $$)";

absl::StatusOr<Connection> OpenAdmin(const Dsn& dsn) {
  PARLEY_ASSIGN_OR_RETURN(Connection connection,
                          Connection::Open(dsn.WithDefault("application_name", "parley-migrate")));
  // A limit that the role or the database has by itself is not meant for this.
  PARLEY_RETURN_IF_ERROR(connection.Execute(
      "SET statement_timeout = 0; SET lock_timeout = 0; SET client_min_messages = warning;"
      "SET search_path = ''"));
  return connection;
}

absl::Status CannotCreate(const Result& result, const Dsn& beside) {
  if (SqlStateOf(result) == "42501") {
    return absl::PermissionDeniedError(absl::StrCat(
        "the role may not create a scratch database on this server: ", ErrorTextOf(result),
        "\nEither let it (ALTER ROLE ... CREATEDB), or give --scratch-url, an empty database of "
        "the "
        "same major version of PostgreSQL that the migrations may be applied to; nothing was "
        "changed."));
  }
  return absl::InternalError(absl::StrCat("no scratch database could be made beside ",
                                          beside.Redacted(), ": ", ErrorTextOf(result)));
}

// Best effort: somebody else may be sweeping, or have connected by now.
void SweepLeftBehind(Connection& connection) {
  const Result drops = connection.Run(std::string(kLeftBehindSql));
  if (!Succeeded(drops)) return;
  for (int row = 0; row < PQntuples(drops.get()); ++row) {
    connection.Run(std::string(FieldOf(drops, row, 0)));
  }
}

}  // namespace

ScratchDatabase::ScratchDatabase(std::string name, Dsn dsn, Dsn admin, std::string clear_away_sql)
    : name_(std::move(name)),
      dsn_(std::move(dsn)),
      admin_(std::move(admin)),
      clear_away_sql_(std::move(clear_away_sql)) {}

ScratchDatabase::~ScratchDatabase() { ClearAway().IgnoreError(); }

absl::StatusOr<std::unique_ptr<ScratchDatabase>> ScratchDatabase::Make(const Dsn& beside) {
  PARLEY_ASSIGN_OR_RETURN(Connection connection, OpenAdmin(beside));
  SweepLeftBehind(connection);
  PARLEY_ASSIGN_OR_RETURN(
      const Result description,
      connection.Query(absl::StrReplaceAll(kDescribeSql, {{"%token", NewRandomToken()}})));
  const std::string name(FieldOf(description, 0, 0));
  const Result created = connection.Run(std::string(FieldOf(description, 0, 1)));
  if (!Succeeded(created)) return CannotCreate(created, beside);
  return std::unique_ptr<ScratchDatabase>(
      new ScratchDatabase(name, beside.With("dbname", name), beside,
                          absl::StrCat("DROP DATABASE IF EXISTS ", name, " WITH (FORCE)")));
}

absl::StatusOr<std::unique_ptr<ScratchDatabase>> ScratchDatabase::Borrow(const Dsn& dsn) {
  PARLEY_ASSIGN_OR_RETURN(Connection connection, OpenAdmin(dsn));
  PARLEY_ASSIGN_OR_RETURN(const Result name,
                          connection.Query("SELECT current_database(),"
                                           " to_regclass('public.schema_migrations')"));
  PARLEY_ASSIGN_OR_RETURN(const Catalog catalog, ReadCatalog(connection));
  for (const auto& [object, what] : catalog) {
    if (object == "schema public" || object == "extension plpgsql") continue;
    return absl::FailedPreconditionError(absl::StrCat("the scratch database, ", dsn.Redacted(),
                                                      ", is not empty: it has ", object,
                                                      ". Give one that is; nothing was changed."));
  }
  if (!FieldOf(name, 0, 1).empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the scratch database, ", dsn.Redacted(),
                     ", is not empty: it has a history of migrations. Give one that has none; "
                     "nothing was changed."));
  }
  return std::unique_ptr<ScratchDatabase>(
      new ScratchDatabase(std::string(FieldOf(name, 0, 0)), dsn, dsn, std::string(kEmptySql)));
}

absl::Status ScratchDatabase::ClearAway() {
  const std::string sql = std::exchange(clear_away_sql_, "");
  if (sql.empty()) return absl::OkStatus();
  absl::StatusOr<Connection> connection = OpenAdmin(admin_);
  absl::Status status = connection.ok() ? connection->Execute(sql) : connection.status();
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat("the scratch database ", name_,
                                   " could not be cleared away: ", status.message()));
}

}  // namespace parley::db
