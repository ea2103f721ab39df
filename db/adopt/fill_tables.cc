#include "db/adopt/fill_tables.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status_macros.h"
#include "db/adopt/bulk_load.h"
#include "db/adopt/sql_quote.h"

namespace parley::adopt {
namespace {

using db::Connection;
using db::FieldOf;
using db::Result;

// Big ones; what a row of theirs refers to is checked once, at the end.
constexpr const char* kBulkTables[] = {"messages", "chat_user"};
constexpr std::size_t kKeysPerStatement = 2000;

absl::Status SendLoginKeys(Connection& connection, const Survey& survey) {
  PARLEY_RETURN_IF_ERROR(
      connection.Execute("CREATE TEMPORARY TABLE adopt_login_keys (user_id bigint PRIMARY KEY, "
                         "login_key text NOT NULL)"
                         " ON COMMIT DROP"));
  const auto& keys = survey.folded_logins;
  for (std::size_t first = 0; first < keys.size(); first += kKeysPerStatement) {
    std::string sql = "INSERT INTO adopt_login_keys VALUES ";
    for (std::size_t i = first; i < std::min(first + kKeysPerStatement, keys.size()); ++i) {
      absl::StrAppend(&sql, i == first ? "" : ",", "(", keys[i].first, ",",
                      QuoteLiteral(keys[i].second), ")");
    }
    PARLEY_RETURN_IF_ERROR(connection.Execute(sql));
  }
  return absl::OkStatus();
}

std::string UsersSql(const ExpectedRows& expected) {
  return absl::StrCat(
      "INSERT INTO public.users (id, login, login_key, name, status, created_at, updated_at)"
      " SELECT u.id, u.login, coalesce(k.login_key, u.login), u.name, u.status, u.created_at,"
      "        u.updated_at"
      " FROM (",
      expected.users, ") AS u LEFT JOIN adopt_login_keys AS k ON k.user_id = u.id");
}

std::string MessagesSql(const ExpectedRows& expected, const std::string& language) {
  return absl::StrCat(
      "INSERT INTO public.messages (chat_id, seq, id, user_id, text, search, created_at, "
      "updated_at)"
      " SELECT chat_id, seq, id, user_id, text, to_tsvector(",
      QuoteLiteral(language), "::regconfig, text), created_at, updated_at FROM (",
      expected.messages, ") AS m");
}

std::string ChatsSql(const ExpectedRows& expected) {
  return absl::StrCat(
      "INSERT INTO public.chats (id, title, description, chat_type, creator_user_id, last_seq,"
      " user_count, last_sent_at, created_at, updated_at) ",
      expected.chats);
}

std::string MembersSql(const ExpectedRows& expected) {
  return absl::StrCat("INSERT INTO public.chat_user (chat_id, user_id, role, joined_at, read_seq) ",
                      expected.chat_user);
}

std::string PasswordsSql(LegacyPasswords passwords) {
  return absl::StrCat(
      "INSERT INTO public.legacy_passwords (user_id, password, accepted) SELECT id, password, ",
      passwords == LegacyPasswords::kPlaintext ? "true" : "false",
      " FROM original.users WHERE password IS NOT NULL");
}

// The sequences that a table owns or that its defaults name, quoted.
constexpr absl::string_view kOldSequencesSql =
    "SELECT s.oid::regclass FROM pg_catalog.pg_class s"
    " WHERE s.relkind = 'S' AND s.oid IN ("
    "   SELECT objid FROM pg_catalog.pg_depend"
    "   WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass"
    "     AND refobjid = 'original.{table}'::regclass AND deptype IN ('a', 'i')"
    "   UNION ALL"
    "   SELECT d.refobjid FROM pg_catalog.pg_depend d"
    "   JOIN pg_catalog.pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid"
    "   WHERE f.adrelid = 'original.{table}'::regclass AND d.refclassid = 'pg_class'::regclass)";

// Beyond all ids that were given out, whether their rows are still there or not, and not before
// the one that an old sequence would give next.
absl::Status SetSequence(Connection& connection, absl::string_view table, absl::string_view name) {
  PARLEY_ASSIGN_OR_RETURN(const Result sequences, connection.Query(absl::StrReplaceAll(
                                                      kOldSequencesSql, {{"{table}", table}})));
  std::string next =
      absl::StrCat("SELECT coalesce(max(id)::bigint, 0) + 1 AS next FROM original.", table);
  for (int row = 0; row < PQntuples(sequences.get()); ++row) {
    absl::StrAppend(&next, " UNION ALL SELECT last_value + is_called::integer FROM ",
                    FieldOf(sequences, row, 0));
  }
  return connection.Execute(absl::StrCat("SELECT pg_catalog.setval('public.", name,
                                         "', max(next), false) FROM (", next, ") AS ids"));
}

}  // namespace

absl::Status FillTables(Connection& connection, const Survey& survey, const ExpectedRows& expected,
                        const AdoptOptions& options, Steps& steps) {
  std::vector<TakenOff> taken_off;
  for (const char* table : kBulkTables) {
    PARLEY_ASSIGN_OR_RETURN(const std::vector<TakenOff> taken, TakeOffIndexes(connection, table));
    taken_off.insert(taken_off.end(), taken.begin(), taken.end());
  }
  PARLEY_RETURN_IF_ERROR(SendLoginKeys(connection, survey));
  PARLEY_RETURN_IF_ERROR(steps.Run("users copied", UsersSql(expected)));
  PARLEY_RETURN_IF_ERROR(
      steps.Run("messages copied", MessagesSql(expected, options.search_language)));
  PARLEY_RETURN_IF_ERROR(steps.Run("chats copied", ChatsSql(expected)));
  PARLEY_RETURN_IF_ERROR(steps.Run("memberships copied", MembersSql(expected)));
  PARLEY_RETURN_IF_ERROR(steps.Run("passwords kept aside", PasswordsSql(options.legacy_passwords)));
  PARLEY_RETURN_IF_ERROR(SetSequence(connection, "users", "users_id_seq"));
  PARLEY_RETURN_IF_ERROR(SetSequence(connection, "chats", "chats_id_seq"));
  PARLEY_RETURN_IF_ERROR(SetSequence(connection, "messages", "message_id_seq"));
  for (const TakenOff& part : taken_off) {
    PARLEY_RETURN_IF_ERROR(steps.Run(absl::StrCat(part.what, " made"), part.sql));
  }
  return steps.Run("statistics made",
                   "ANALYZE public.users, public.chats, public.chat_user, public.messages,"
                   " public.legacy_passwords");
}

}  // namespace parley::adopt
