// The names in schema `public` that migrations make, and those that are in their way.
#pragma once

#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "db/migrator/migration_set.h"

namespace parley::adopt {

// Of tables, views, sequences, indexes and, as "name()", functions, whether they are there at the
// end or not. Those of indexes and sequences that PostgreSQL makes by itself are not among them.
absl::StatusOr<std::set<std::string>> NamesMadeBy(const db::MigrationSet& set);

// What stays in `public` when the original's tables go: name, what it is and how ALTER calls it.
// A table cannot have a type's name, and a function of our name, whatever its arguments, would be
// in the way of a call of ours.
inline constexpr absl::string_view kStayingNamesSql =
    "SELECT c.relname, 'public.' || quote_ident(c.relname),"
    "       CASE c.relkind WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END || ' public.' ||"
    "       quote_ident(c.relname)"
    " FROM pg_catalog.pg_class c"
    " LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid"
    " WHERE c.relnamespace = 'public'::regnamespace"
    "   AND coalesce(i.indrelid, c.oid)::regclass::text NOT IN"
    "       ('users', 'chats', 'chat_user', 'messages', 'alembic_version')"
    "   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass"
    "                   AND d.objid = c.oid AND d.deptype IN ('a', 'i') AND c.relkind = 'S'"
    "                   AND d.refobjid::regclass::text IN ('users', 'chats', 'messages'))"
    " UNION ALL"
    " SELECT t.typname, 'type public.' || quote_ident(t.typname),"
    "        'TYPE public.' || quote_ident(t.typname)"
    " FROM pg_catalog.pg_type t"
    " WHERE t.typnamespace = 'public'::regnamespace AND t.typtype IN ('d', 'e', 'r')"
    "   AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.atttypid = t.oid AND"
    "                   a.attrelid = ANY ('{public.users, public.chats}'::regclass[])"
    "                   AND a.attname IN ('status', 'chat_type'))"
    " UNION ALL"
    " SELECT p.proname || '()', 'function ' || p.oid::regprocedure,"
    "        CASE p.prokind WHEN 'p' THEN 'PROCEDURE ' WHEN 'a' THEN 'AGGREGATE ' ELSE 'FUNCTION '"
    "        END || p.oid::regprocedure"
    " FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'public'::regnamespace"
    " ORDER BY 2";

}  // namespace parley::adopt
