#include "db/adopt/original_schema.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "db/adopt/sql_quote.h"

namespace parley::adopt {
namespace {

using db::Connection;
using db::FieldOf;
using db::Result;

enum class Kind { kId, kText, kTime, kEnum };
enum class Nulls { kNever, kMaybe };

// As the original's models declare them. A key counts as NOT NULL.
struct ModelColumn {
  absl::string_view table;
  absl::string_view name;
  Kind kind;
  Nulls nulls;
};
constexpr ModelColumn kModel[] = {
    {"users", "id", Kind::kId, Nulls::kNever},
    {"users", "name", Kind::kText, Nulls::kMaybe},
    {"users", "login", Kind::kText, Nulls::kNever},
    {"users", "password", Kind::kText, Nulls::kMaybe},
    {"users", "status", Kind::kEnum, Nulls::kMaybe},
    {"users", "created", Kind::kTime, Nulls::kMaybe},
    {"users", "updated", Kind::kTime, Nulls::kMaybe},
    {"chats", "id", Kind::kId, Nulls::kNever},
    {"chats", "title", Kind::kText, Nulls::kNever},
    {"chats", "description", Kind::kText, Nulls::kMaybe},
    {"chats", "chat_type", Kind::kEnum, Nulls::kNever},
    {"chats", "creator_user_id", Kind::kId, Nulls::kNever},
    {"chats", "created", Kind::kTime, Nulls::kMaybe},
    {"chats", "updated", Kind::kTime, Nulls::kMaybe},
    {"chat_user", "user_id", Kind::kId, Nulls::kNever},
    {"chat_user", "chat_id", Kind::kId, Nulls::kNever},
    {"messages", "id", Kind::kId, Nulls::kNever},
    {"messages", "text", Kind::kText, Nulls::kNever},
    {"messages", "created", Kind::kTime, Nulls::kMaybe},
    {"messages", "updated", Kind::kTime, Nulls::kMaybe},
    {"messages", "user_id", Kind::kId, Nulls::kMaybe},
    {"messages", "chat_id", Kind::kId, Nulls::kMaybe},
};

constexpr absl::string_view kColumnsSql =
    "SELECT c.relname || '.' || a.attname, pg_catalog.format_type(a.atttypid, NULL), t.typtype,"
    "       a.attnotnull,"
    "       pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.typname)"
    " FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    " JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
    " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
    "   AND c.relname IN ('users', 'chats', 'chat_user', 'messages')"
    " ORDER BY c.relname, a.attnum";

// Tables whose ids may occur twice.
constexpr absl::string_view kNoKeySql =
    "SELECT c.relname FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'id'"
    " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
    "   AND c.relname IN ('users', 'chats', 'messages')"
    "   AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid"
    "                   AND i.indisunique AND i.indisvalid AND i.indpred IS NULL"
    "                   AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum)";

// A table that others inherit from yields their rows as its own.
constexpr absl::string_view kHeirsSql =
    "SELECT inhrelid::regclass || ' inherits from ' || inhparent::regclass"
    " FROM pg_catalog.pg_inherits WHERE inhparent = ANY ({tables}) ORDER BY 1";

// Tables of which policies keep rows from this role, be it the owner.
constexpr absl::string_view kHidingTablesSql =
    "SELECT oid::regclass FROM pg_catalog.pg_class"
    " WHERE oid = ANY ({tables}) AND pg_catalog.row_security_active(oid) ORDER BY 1";

// Those that the tables' defaults name and that belong to no table: FROM and WHERE.
constexpr absl::string_view kLooseSequencesSql =
    " FROM pg_catalog.pg_class s WHERE s.relkind = 'S' AND s.oid IN ("
    "   SELECT d.refobjid FROM pg_catalog.pg_depend d"
    "   JOIN pg_catalog.pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid"
    "   WHERE d.refclassid = 'pg_class'::regclass AND f.adrelid = ANY ({tables}))"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend o WHERE o.classid = 'pg_class'::regclass"
    "                 AND o.objid = s.oid AND o.deptype IN ('a', 'i'))";

constexpr absl::string_view kDependentsSql =
    "WITH moved_type AS (SELECT DISTINCT t.oid, t.typarray FROM pg_catalog.pg_type t"
    "   JOIN pg_catalog.pg_attribute a ON a.atttypid = t.oid AND a.attrelid = ANY ({tables})"
    "   WHERE t.typtype = 'e')"
    " SELECT 'foreign key ' || k.conname || ' of ' || k.conrelid::regclass || ' to ' ||"
    "       k.confrelid::regclass"
    " FROM pg_catalog.pg_constraint k"
    " WHERE k.contype = 'f' AND k.confrelid = ANY ({tables}) AND NOT k.conrelid = ANY ({tables})"
    " UNION ALL"
    " SELECT DISTINCT 'view ' || r.ev_class::regclass || ' of ' || d.refobjid::regclass"
    " FROM pg_catalog.pg_depend d"
    " JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid"
    " WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY ({tables})"
    "   AND r.ev_class <> d.refobjid"
    " UNION ALL"
    " SELECT 'table ' || i.inhrelid::regclass || ', which inherits from ' || i.inhparent::regclass"
    " FROM pg_catalog.pg_inherits i WHERE i.inhparent = ANY ({tables})"
    // The types and the sequences move too.
    " UNION ALL"
    " SELECT 'column ' || a.attrelid::regclass || '.' || a.attname || ' of type ' || t.oid::regtype"
    " FROM pg_catalog.pg_attribute a JOIN moved_type t ON a.atttypid IN (t.oid, t.typarray)"
    " JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm', 'f')"
    " WHERE NOT a.attisdropped AND NOT a.attrelid = ANY ({tables})"
    " UNION ALL"
    " SELECT DISTINCT 'function ' || d.objid::regprocedure || ' with type ' || t.oid::regtype"
    " FROM pg_catalog.pg_depend d JOIN moved_type t ON d.refobjid IN (t.oid, t.typarray)"
    " WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_type'::regclass"
    " UNION ALL"
    " SELECT DISTINCT 'default of ' || f.adrelid::regclass || '.' || a.attname || ' from ' ||"
    "       s.oid::regclass"
    " FROM pg_catalog.pg_depend d"
    " JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'"
    " JOIN pg_catalog.pg_attrdef f ON f.oid = d.objid AND NOT f.adrelid = ANY ({tables})"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum"
    " WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass"
    "   AND EXISTS (SELECT FROM pg_catalog.pg_depend o JOIN pg_catalog.pg_attrdef g"
    "                 ON o.classid = 'pg_attrdef'::regclass AND o.objid = g.oid"
    "               WHERE o.refobjid = s.oid AND g.adrelid = ANY ({tables}))"
    " ORDER BY 1";

// What this role would have to be allowed, beyond what it is.
constexpr absl::string_view kMissingRightsSql =
    "SELECT 'to own table ' || oid::regclass FROM pg_catalog.pg_class"
    " WHERE oid = ANY ({tables}) AND NOT pg_catalog.pg_has_role(relowner, 'USAGE')"
    " UNION ALL"
    " SELECT DISTINCT 'to own type ' || t.oid::regtype FROM pg_catalog.pg_type t"
    " JOIN pg_catalog.pg_attribute a ON a.atttypid = t.oid AND a.attrelid = ANY ({tables})"
    " WHERE t.typtype = 'e' AND NOT pg_catalog.pg_has_role(t.typowner, 'USAGE')"
    " UNION ALL"
    " SELECT 'to own table alembic_version' FROM pg_catalog.pg_class"
    " WHERE oid = pg_catalog.to_regclass('public.alembic_version')"
    "   AND NOT pg_catalog.pg_has_role(relowner, 'USAGE')"
    " UNION ALL"
    " SELECT 'to own sequence ' || s.oid::regclass {loose_sequences}"
    "   AND s.relnamespace = 'public'::regnamespace"
    "   AND NOT pg_catalog.pg_has_role(s.relowner, 'USAGE')"
    " UNION ALL"
    " SELECT 'to read sequence ' || s.oid::regclass {loose_sequences}"
    "   AND s.relnamespace <> 'public'::regnamespace"
    "   AND NOT (has_schema_privilege(s.relnamespace, 'USAGE')"
    "            AND has_sequence_privilege(s.oid, 'SELECT'))"
    " UNION ALL"
    " SELECT 'to create temporary tables in the database'"
    " WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')"
    " UNION ALL"
    " SELECT 'to create schemas in the database'"
    " WHERE NOT has_database_privilege(current_database(), 'CREATE')"
    " UNION ALL"
    " SELECT 'to create tables in schema public' WHERE NOT has_schema_privilege('public', "
    "'CREATE')";

constexpr absl::string_view kTablesSql =
    "'{public.users, public.chats, public.chat_user, public.messages}'::regclass[]";

absl::StatusOr<std::vector<std::string>> QueryTexts(Connection& connection, absl::string_view sql) {
  const std::string whole = absl::StrReplaceAll(sql, {{"{loose_sequences}", kLooseSequencesSql}});
  PARLEY_ASSIGN_OR_RETURN(const Result result,
                          connection.Query(absl::StrReplaceAll(whole, {{"{tables}", kTablesSql}})));
  std::vector<std::string> texts;
  texts.reserve(static_cast<std::size_t>(PQntuples(result.get())));
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    texts.emplace_back(FieldOf(result, row, 0));
  }
  return texts;
}

struct Column {
  std::string type;
  bool is_enum = false;
  bool is_not_null = false;
  std::string type_name;
};

using Columns = std::map<std::string, Column>;

bool Fits(const Column& column, Kind kind) {
  switch (kind) {
    case Kind::kId:
      return column.type == "integer" || column.type == "bigint";
    case Kind::kText:
      return column.type == "character varying" || column.type == "text";
    case Kind::kTime:
      return column.type == "timestamp without time zone";
    case Kind::kEnum:
      return column.is_enum;
  }
  return false;
}

absl::string_view NameOf(Kind kind) {
  switch (kind) {
    case Kind::kId:
      return "integer or bigint";
    case Kind::kText:
      return "character varying or text";
    case Kind::kTime:
      return "timestamp without time zone";
    case Kind::kEnum:
      return "an enum";
  }
  return "";
}

absl::StatusOr<Columns> ReadColumns(Connection& connection) {
  PARLEY_ASSIGN_OR_RETURN(const Result result, connection.Query(std::string(kColumnsSql)));
  Columns columns;
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    columns[std::string(FieldOf(result, row, 0))] = {
        .type = std::string(FieldOf(result, row, 1)),
        .is_enum = FieldOf(result, row, 2) == "e",
        .is_not_null = FieldOf(result, row, 3) == "t",
        .type_name = std::string(FieldOf(result, row, 4))};
  }
  return columns;
}

// Compares with the model and takes what it knows out of `columns`.
std::vector<std::string> TakeModel(Columns& columns) {
  std::vector<std::string> differences;
  for (const char* table : kOriginalTables) {
    const std::string prefix = absl::StrCat(table, ".");
    const auto first = columns.lower_bound(prefix);
    if (first == columns.end() || first->first.compare(0, prefix.size(), prefix) != 0) {
      differences.push_back(absl::StrCat("there is no table public.", table));
      continue;
    }
    for (const ModelColumn& model : kModel) {
      if (model.table != table) continue;
      const std::string name = absl::StrCat(prefix, model.name);
      const auto column = columns.extract(name);
      if (column.empty()) {
        differences.push_back(absl::StrCat("there is no column ", name));
      } else if (!Fits(column.mapped(), model.kind)) {
        differences.push_back(
            absl::StrCat(name, " is ", column.mapped().type, ", not ", NameOf(model.kind)));
      } else if (model.nulls == Nulls::kNever && !column.mapped().is_not_null) {
        differences.push_back(absl::StrCat(name, " may be NULL"));
      }
    }
  }
  return differences;
}

absl::StatusOr<OriginalEnum> ReadEnum(Connection& connection, const std::string& name) {
  PARLEY_ASSIGN_OR_RETURN(
      std::vector<std::string> labels,
      QueryTexts(connection,
                 absl::StrCat("SELECT enumlabel FROM pg_catalog.pg_enum WHERE enumtypid = ",
                              QuoteLiteral(name), "::regtype ORDER BY enumsortorder")));
  return OriginalEnum{name, std::move(labels)};
}

absl::Status ReadAlembic(Connection& connection, OriginalSchema& schema) {
  PARLEY_ASSIGN_OR_RETURN(
      const std::vector<std::string> table,
      QueryTexts(connection,
                 "SELECT attname FROM pg_catalog.pg_attribute"
                 " WHERE attrelid = pg_catalog.to_regclass('public.alembic_version')"
                 "   AND attname = 'version_num' AND NOT attisdropped"));
  schema.has_alembic = !table.empty();
  if (!schema.has_alembic) return absl::OkStatus();
  PARLEY_ASSIGN_OR_RETURN(const std::vector<std::string> versions,
                          QueryTexts(connection,
                                     "SELECT coalesce(string_agg(version_num, ', '), '')"
                                     " FROM public.alembic_version"));
  schema.alembic_version = versions.front();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<OriginalSchema> ReadOriginalSchema(Connection& connection) {
  PARLEY_ASSIGN_OR_RETURN(Columns columns, ReadColumns(connection));
  const std::string chat_type = columns["chats.chat_type"].type_name;
  const std::string user_status = columns["users.status"].type_name;
  if (chat_type.empty()) columns.erase("chats.chat_type");
  if (user_status.empty()) columns.erase("users.status");
  OriginalSchema schema;
  schema.differences = TakeModel(columns);
  PARLEY_ASSIGN_OR_RETURN(const std::vector<std::string> without_key,
                          QueryTexts(connection, kNoKeySql));
  for (const std::string& table : without_key) {
    schema.differences.push_back(absl::StrCat(table, ".id has no unique key"));
  }
  if (!schema.differences.empty()) return schema;
  PARLEY_ASSIGN_OR_RETURN(schema.differences, QueryTexts(connection, kHeirsSql));
  if (!schema.differences.empty()) return schema;
  PARLEY_ASSIGN_OR_RETURN(schema.missing_rights, QueryTexts(connection, kMissingRightsSql));
  if (!schema.missing_rights.empty()) return schema;
  PARLEY_ASSIGN_OR_RETURN(schema.hiding_tables, QueryTexts(connection, kHidingTablesSql));
  for (const auto& [name, column] : columns) schema.extra_columns.push_back(name);
  PARLEY_ASSIGN_OR_RETURN(schema.chat_type, ReadEnum(connection, chat_type));
  PARLEY_ASSIGN_OR_RETURN(schema.user_status, ReadEnum(connection, user_status));
  PARLEY_RETURN_IF_ERROR(ReadAlembic(connection, schema));
  PARLEY_ASSIGN_OR_RETURN(schema.loose_sequences,
                          QueryTexts(connection,
                                     "SELECT s.oid::regclass {loose_sequences}"
                                     " AND s.relnamespace = 'public'::regnamespace ORDER BY 1"));
  PARLEY_ASSIGN_OR_RETURN(schema.dependents, QueryTexts(connection, kDependentsSql));
  return schema;
}

}  // namespace parley::adopt
