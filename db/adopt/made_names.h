// The names in schema `public` that migrations make, and those that are in their way.
#pragma once

#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "db/migrator/migration_set.h"

namespace parley::adopt {

// Of tables, views, sequences and indexes, whether they are there at the end or not. Those of
// indexes and sequences that PostgreSQL makes by itself are not among them.
absl::StatusOr<std::set<std::string>> NamesMadeBy(const db::MigrationSet& set);

// The relations in `public` that stay there when the original's tables go.
inline constexpr absl::string_view kStayingNamesSql =
    "SELECT c.relname FROM pg_catalog.pg_class c"
    " LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid"
    " WHERE c.relnamespace = 'public'::regnamespace"
    "   AND coalesce(i.indrelid, c.oid)::regclass::text NOT IN"
    "       ('users', 'chats', 'chat_user', 'messages', 'alembic_version')"
    "   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass"
    "                   AND d.objid = c.oid AND d.deptype IN ('a', 'i') AND c.relkind = 'S'"
    "                   AND d.refobjid::regclass::text IN ('users', 'chats', 'messages'))"
    " ORDER BY 1";

}  // namespace parley::adopt
