// The queries that ReadCatalog (catalog.h) is made of.
#pragma once

#include <span>
#include <string>

#include "absl/strings/string_view.h"

namespace parley::db {

// What texts of definitions depend on, for the transaction that the queries run in; as in pg_dump.
extern const absl::string_view kCatalogSettingsSql;

// Each returns rows of three texts: object, parent, definition (struct CatalogObject).
std::span<const absl::string_view> CatalogQueries();

// What ListLeftOut returns.
extern const absl::string_view kLeftOutQuery;

// Stands before each of them: the common table expressions that say what is ours.
extern const absl::string_view kCatalogScopeSql;

}  // namespace parley::db
