// What a database's schema is, as its own catalog tells it.
//
// Two databases have equal catalogs if the same statements made them, whoever owns them, in
// whatever order objects got their oids, and whatever the session's settings are. pg_dump's text
// would be nearly that, but it is a program that a service's image need not have, and one text: it
// cannot say which column differs.
//
// Left out, because migrations do not make it or it is somebody else's:
//   - what PostgreSQL and extensions bring: pg_catalog, information_schema, members of extensions,
//     their versions, temporary objects, the schema public itself (its existence and privileges are
//     the template database's);
//   - histories: the migrator's own public.schema_migrations and public.schema_migration_log, which
//     another tool may have made in another shape, and goose's public.goose_db_version;
//   - the schema original, where `parley-migrate adopt` puts what it has taken over;
//   - partitions of one day: schedulerd makes and drops them. A partition is such if it is named
//     TABLE_YYYYMMDD and holds just that day (UTC). What was added to one by hand (an index, a
//     constraint, a trigger) is there;
//   - who owns what, and privileges of roles with a name: migrations know no names, so they are
//     the operator's. What PUBLIC and the owner may do is there;
//   - where things lie (tablespaces, CLUSTER), and what concerns the database as a whole: its
//     settings, publications, subscriptions, event triggers, foreign servers, languages.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "db/migrator/connection.h"

namespace parley::db {

struct CatalogObject {
  // The object that it falls with, "table public.users" of a column; empty if there is none here.
  std::string parent;
  // All of it that can differ, in PostgreSQL's words; several lines for functions and views.
  std::string definition;
};

// From "index public.users_by_status" to what it is. Names are qualified, and quoted if need be.
using Catalog = std::map<std::string, CatalogObject>;

// Reads it in one read-only transaction, which `connection` must not be in. Takes the locks of a
// SELECT on views, and none on anything else. UNAVAILABLE or INTERNAL: the database.
absl::StatusOr<Catalog> ReadCatalog(Connection& connection);

// The tables and sequences that are left out, for whoever else wants to: the migrator's own and the
// partitions of one day. Sorted, qualified, and quoted if need be. Errors as of ReadCatalog.
absl::StatusOr<std::vector<std::string>> ListLeftOut(Connection& connection);

struct CatalogDifference {
  enum class Kind { kMissing, kUnexpected, kChanged };
  Kind kind = Kind::kChanged;
  std::string object;    // as in Catalog
  std::string expected;  // definitions; empty where there is no object
  std::string found;
};

// How `found` differs from `expected`, by object. What falls with a missing or an unexpected object
// is not told besides. Nothing is told of unexpected extensions: those that watch a server are put
// into any database.
std::vector<CatalogDifference> CompareCatalogs(const Catalog& expected, const Catalog& found);

// On one line: "changed column public.users.status: is text, should be text NOT NULL". Of long
// definitions, the first line that differs.
std::string DescribeDifference(const CatalogDifference& difference);

}  // namespace parley::db
