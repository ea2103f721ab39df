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

// Whether PostgreSQL may give `name` to a key, a check or a sequence of one of these tables. If it
// is taken, it gives another one without a word, and a migration that means it fails later.
bool IsImplied(absl::string_view name, const std::set<std::string>& names);

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

// The same of what belongs to a table that stays, and does not have its name from this table: a
// table that is renamed keeps the names of its keys and sequences.
inline constexpr absl::string_view kStayingPartsSql =
    "SELECT part, 'public.' || quote_ident(part) || ' of ' || r.oid::regclass, advice FROM ("
    "  SELECT c.relname AS part, i.indrelid AS of_table, 'ALTER INDEX public.' ||"
    "         quote_ident(c.relname) || ' RENAME TO another' AS advice"
    "  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
    "  UNION ALL"
    "  SELECT c.relname, d.refobjid, 'ALTER SEQUENCE public.' || quote_ident(c.relname) ||"
    "         ' RENAME TO another'"
    "  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid"
    "  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass"
    "    AND d.deptype IN ('a', 'i') AND c.relkind = 'S'"
    "  UNION ALL"
    "  SELECT conname, conrelid, 'ALTER TABLE ' || conrelid::regclass || ' RENAME CONSTRAINT ' ||"
    "         quote_ident(conname) || ' TO another'"
    "  FROM pg_catalog.pg_constraint WHERE contype IN ('c', 'f')"
    ") AS parts JOIN pg_catalog.pg_class r ON r.oid = of_table"
    " WHERE r.relnamespace = 'public'::regnamespace"
    "   AND r.relname NOT IN ('users', 'chats', 'chat_user', 'messages', 'alembic_version')"
    "   AND NOT starts_with(part::text, r.relname || '_')"
    " ORDER BY 2";

}  // namespace parley::adopt
