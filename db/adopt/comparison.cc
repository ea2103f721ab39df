#include "db/adopt/comparison.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace parley::adopt {
namespace {

using db::FieldOf;
using db::Result;

struct ComparedTable {
  absl::string_view name;
  absl::string_view columns;
  absl::string_view group;  // what the rows are summed up by
};
constexpr ComparedTable kUsers = {"users", "id, login, name, status, created_at, updated_at",
                                  "''::text"};
constexpr ComparedTable kChats = {
    "chats",
    "id, title, description, chat_type, creator_user_id, last_seq, user_count, last_sent_at,"
    " created_at, updated_at",
    "''::text"};
constexpr ComparedTable kChatUser = {"chat_user", "chat_id, user_id, role, joined_at, read_seq",
                                     "''::text"};
constexpr ComparedTable kMessages = {
    "messages", "chat_id, seq, id, user_id, text, created_at, updated_at", "chat_id::text"};

std::string SumSql(const ComparedTable& table, absl::string_view source) {
  return absl::StrCat("SELECT ", table.group, " AS part, count(*) AS rows,",
                      " sum(hashtextextended(ROW(", table.columns, ")::text, 0)) AS checksum FROM ",
                      source, " GROUP BY 1");
}

Content ContentOf(const Result& result, int row, int column) {
  Content content;
  if (PQgetisnull(result.get(), row, column) != 0) return content;
  if (!absl::SimpleAtoi(FieldOf(result, row, column), &content.rows)) content.rows = -1;
  content.checksum = std::string(FieldOf(result, row, column + 1));
  return content;
}

absl::Status Compare(db::Connection& connection, const ComparedTable& table,
                     const std::string& expected, CompareWith with,
                     std::vector<ComparedRows>& compared) {
  const std::string found_sql =
      with == CompareWith::kParleysTables
          ? SumSql(table, absl::StrCat("public.", table.name))
          : "SELECT ''::text AS part, 0 AS rows, 0 AS checksum WHERE false";
  PARLEY_ASSIGN_OR_RETURN(
      const Result result,
      connection.Query(absl::StrCat(
          "WITH expected AS (", SumSql(table, absl::StrCat("(", expected, ") AS row")),
          "), found AS (", found_sql,
          ") SELECT part, expected.rows, expected.checksum, found.rows, found.checksum",
          " FROM expected FULL JOIN found USING (part) ORDER BY length(part), part")));
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    ComparedRows rows{.table = std::string(table.name),
                      .chat_id = std::string(FieldOf(result, row, 0)),
                      .expected = ContentOf(result, row, 1)};
    if (with == CompareWith::kParleysTables) rows.found = ContentOf(result, row, 3);
    compared.push_back(std::move(rows));
  }
  return absl::OkStatus();
}

}  // namespace

bool AreEqual(const std::vector<ComparedRows>& rows) {
  return std::all_of(rows.begin(), rows.end(), [](const ComparedRows& part) {
    return part.found && *part.found == part.expected;
  });
}

absl::StatusOr<std::vector<ComparedRows>> CompareRows(db::Connection& connection,
                                                      const ExpectedRows& expected,
                                                      CompareWith with) {
  std::vector<ComparedRows> rows;
  PARLEY_RETURN_IF_ERROR(Compare(connection, kUsers, expected.users, with, rows));
  PARLEY_RETURN_IF_ERROR(Compare(connection, kChats, expected.chats, with, rows));
  PARLEY_RETURN_IF_ERROR(Compare(connection, kChatUser, expected.chat_user, with, rows));
  PARLEY_RETURN_IF_ERROR(Compare(connection, kMessages, expected.messages, with, rows));
  return rows;
}

}  // namespace parley::adopt
