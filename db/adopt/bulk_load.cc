#include "db/adopt/bulk_load.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status_macros.h"
#include "db/adopt/sql_quote.h"

namespace parley::adopt {
namespace {

using db::FieldOf;
using db::Result;

// What it is, the statement that drops it, the one that makes it. Indexes come first: the check of
// a foreign key is quicker with them.
constexpr absl::string_view kListSql =
    "SELECT 'index ' || c.relname, 'DROP INDEX public.' || quote_ident(c.relname),"
    "       pg_get_indexdef(i.indexrelid), 0 AS place"
    " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
    " WHERE i.indrelid = {table}::regclass"
    "   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid)"
    " UNION ALL"
    " SELECT 'foreign key ' || conname,"
    "        'ALTER TABLE ' || {table} || ' DROP CONSTRAINT ' || quote_ident(conname),"
    "        'ALTER TABLE ' || {table} || ' ADD CONSTRAINT ' || quote_ident(conname) || ' ' ||"
    "        pg_get_constraintdef(oid), 1"
    " FROM pg_catalog.pg_constraint WHERE conrelid = {table}::regclass AND contype = 'f'"
    " ORDER BY place, 1";

}  // namespace

absl::StatusOr<std::vector<TakenOff>> TakeOffIndexes(db::Connection& connection,
                                                     const std::string& table) {
  PARLEY_ASSIGN_OR_RETURN(
      const Result list,
      connection.Query(absl::StrReplaceAll(
          kListSql, {{"{table}", QuoteLiteral(absl::StrCat("public.", table))}})));
  std::vector<TakenOff> taken;
  for (int row = 0; row < PQntuples(list.get()); ++row) {
    PARLEY_RETURN_IF_ERROR(connection.Execute(std::string(FieldOf(list, row, 1))));
    taken.push_back({std::string(FieldOf(list, row, 0)), std::string(FieldOf(list, row, 2))});
  }
  return taken;
}

}  // namespace parley::adopt
