// The original's tables as they are in a database: schema `public` before an adoption.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "db/migrator/connection.h"

namespace parley::adopt {

inline constexpr const char* kOriginalTables[] = {"users", "chats", "chat_user", "messages"};

struct OriginalEnum {
  std::string name;                 // qualified and quoted
  std::vector<std::string> labels;  // in their order
};

struct OriginalSchema {
  // What makes it another schema than the original's models make, a line each: tables and columns
  // that are missing, have another type or may be NULL. If there is any, the rest is not filled in.
  std::vector<std::string> differences;
  // "to own table users": what the role that asks may not do, and adoption has to. If there is
  // any, the rest is not filled in either.
  std::vector<std::string> missing_rights;
  // Tables with row-level security that keeps rows from the role that asks.
  std::vector<std::string> hiding_tables;
  // "users.phone": columns that the models do not have.
  std::vector<std::string> extra_columns;
  OriginalEnum chat_type;
  OriginalEnum user_status;
  bool has_alembic = false;
  std::string alembic_version;  // empty: its table has no row
  // Sequences in `public` that the tables draw ids from and do not own; qualified and quoted.
  std::vector<std::string> loose_sequences;
  // What others have that refers to the tables, their enum types or their sequences, a line each.
  std::vector<std::string> dependents;
};

// Reads the catalog, no rows but Alembic's.
absl::StatusOr<OriginalSchema> ReadOriginalSchema(db::Connection& connection);

}  // namespace parley::adopt
