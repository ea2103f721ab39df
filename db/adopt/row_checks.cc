#include "db/adopt/row_checks.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status_macros.h"
#include "db/adopt/sql_quote.h"
#include "db/adopt/time_checks.h"

namespace parley::adopt {
namespace {

using db::FieldOf;
using db::Result;

// Of rows that have no place in Parley's tables.
std::vector<RowCheck> Orphans() {
  return {
      {.name = "messages-without-chat",
       .weight = Weight::kStops,
       .row = "'message ' || m.id || coalesce(', chat ' || m.chat_id, '')",
       .from =
           "public.messages m WHERE NOT EXISTS (SELECT FROM public.chats c WHERE c.id = m.chat_id)"
           " ORDER BY m.id",
       .what = "messages that belong to no chat",
       .advice = "UPDATE public.messages SET chat_id = 1 WHERE id = 1, or DELETE it, or leave all "
                 "such messages behind with --set-aside",
       .can_stay = true},
      {.name = "messages-without-user",
       .weight = Weight::kStops,
       .row = "'message ' || m.id || coalesce(', user ' || m.user_id, '')",
       .from =
           "public.messages m WHERE NOT EXISTS (SELECT FROM public.users u WHERE u.id = m.user_id)"
           " ORDER BY m.id",
       .what = "messages without an author",
       .advice = "UPDATE public.messages SET user_id = 1 WHERE id = 1, or DELETE it, or leave all "
                 "such messages behind with --set-aside",
       .can_stay = true},
      {.name = "empty-messages",
       .weight = Weight::kStops,
       .row = "'message ' || m.id || coalesce(', chat ' || m.chat_id, '')",
       .from = "public.messages m WHERE m.text = '' ORDER BY m.id",
       .what = "messages without text",
       .advice = "UPDATE public.messages SET text = '-' WHERE id = 1, or DELETE it, or leave all "
                 "such messages behind with --set-aside",
       .can_stay = true},
      {.name = "memberships-of-nothing",
       .weight = Weight::kStops,
       .row = "'user ' || m.user_id || ', chat ' || m.chat_id",
       .from =
           "public.chat_user m WHERE NOT EXISTS (SELECT FROM public.users u WHERE u.id = m.user_id)"
           " OR NOT EXISTS (SELECT FROM public.chats c WHERE c.id = m.chat_id)"
           " ORDER BY m.chat_id, m.user_id",
       .what = "memberships of a user or a chat that does not exist",
       .advice =
           "DELETE FROM public.chat_user WHERE user_id = 1 AND chat_id = 1, or leave all such "
           "memberships behind with --set-aside",
       .can_stay = true},
  };
}

// Of values that Parley's rules refuse.
std::vector<RowCheck> BrokenRules() {
  return {
      {.name = "long-messages",
       .weight = Weight::kStops,
       .row = "'message ' || id || ': ' || char_length(text) || ' characters'",
       .from = "public.messages WHERE char_length(text) > 1024 ORDER BY id",
       .what = "messages longer than 1024 characters",
       .advice = "UPDATE public.messages SET text = left(text, 1024) WHERE id = 1"},
      {.name = "bad-titles",
       .weight = Weight::kStops,
       .row = "'chat ' || id || ': ' || char_length(title) || ' characters'",
       .from = "public.chats WHERE char_length(title) NOT BETWEEN 1 AND 256 ORDER BY id",
       .what = "chats with an empty title, or one of more than 256 characters",
       .advice = "UPDATE public.chats SET title = 'Chat ' || id WHERE id = 1"},
      {.name = "long-descriptions",
       .weight = Weight::kStops,
       .row = "'chat ' || id || ': ' || char_length(description) || ' characters'",
       .from = "public.chats WHERE char_length(description) > 512 ORDER BY id",
       .what = "chats with a description of more than 512 characters",
       .advice = "UPDATE public.chats SET description = left(description, 512) WHERE id = 1"},
      {.name = "long-names",
       .weight = Weight::kStops,
       .row = "'user ' || id || ': ' || char_length(name) || ' characters'",
       .from = "public.users WHERE char_length(name) > 256 ORDER BY id",
       .what = "users with a name of more than 256 characters",
       .advice = "UPDATE public.users SET name = left(name, 256) WHERE id = 1"},
      {.name = "bad-ids",
       .weight = Weight::kStops,
       .row = "place || ' ' || id",
       .from = "(SELECT 'user' AS place, id FROM public.users UNION ALL SELECT 'chat', id FROM"
               " public.chats UNION ALL SELECT 'message', id FROM public.messages) AS all_ids"
               " WHERE id <= 0 OR id = 9223372036854775807 ORDER BY place, id",
       .what = "ids that are not positive, or that none can follow",
       .advice =
           "UPDATE public.chats SET id = nextval('public.chats_id_seq') WHERE id = 0, and what "
           "refers to it"},
  };
}

// Of what the old tables do not hand on to the new ones.
std::vector<RowCheck> Owners() {
  constexpr absl::string_view kOfTheTables =
      "pg_catalog.pg_class c WHERE c.oid = ANY ('{public.users, public.chats, public.chat_user,"
      " public.messages}'::regclass[])";
  return {
      {.name = "other-owners",
       .weight = Weight::kHandled,
       .row = "c.oid::regclass || ' belongs to ' || pg_catalog.pg_get_userbyid(c.relowner) ||"
              " ', its new form to ' || current_user",
       .from =
           absl::StrCat(kOfTheTables, " AND c.relowner <> current_user::regrole ORDER BY c.oid"),
       .what = "tables that belong to another role than the new ones will: the services have to "
               "connect as the new owner, or get rights to all tables, sequences and functions "
               "(or run it as the old one)"},
      {.name = "grants",
       .weight = Weight::kHandled,
       .row = "of_table || ': ' || coalesce(nullif(grantee, 0)::regrole::text, 'PUBLIC') ||"
              " ' has ' || pg_catalog.string_agg(DISTINCT right_name, ', ')",
       .from = absl::StrCat(
           "(SELECT oid::regclass AS of_table, (acl).grantee, (acl).privilege_type AS right_name"
           " FROM (SELECT c.oid, c.relowner, pg_catalog.aclexplode(c.relacl) AS acl FROM ",
           kOfTheTables,
           ") AS g WHERE (acl).grantee <> relowner) AS granted"
           " GROUP BY of_table, grantee ORDER BY of_table, grantee"),
       .what = "rights that others were granted; the new tables do not have them"},
  };
}

// Of one table that has ids.
RowCheck Gaps(absl::string_view table) {
  return {.name = absl::StrCat("gaps-in-ids-of-", table),
          .weight = Weight::kHandled,
          .row =
              "CASE WHEN next = id + 2 THEN 'id ' || id + 1 ELSE 'ids ' || id + 1 || ' to ' || "
              "next - 1 END",
          // Not id + 1, which the greatest id there can be does not have.
          .from = absl::StrCat("(SELECT id, lead(id) OVER (ORDER BY id) AS next FROM public.",
                               table, ") AS pair WHERE id < next - 1 ORDER BY id"),
          .what = absl::StrCat("gaps in the ids of ", table, "; ids stay as they are")};
}

// Of what adoption knows how to handle.
std::vector<RowCheck> Oddities() {
  return {
      {.name = "duplicate-memberships",
       .weight = Weight::kHandled,
       .row = "'user ' || user_id || ', chat ' || chat_id || ': ' || count(*) || ' times'",
       .from = "public.chat_user GROUP BY chat_id, user_id HAVING count(*) > 1"
               " ORDER BY chat_id, user_id",
       .what = "memberships that are there more than once; each becomes one"},
      {.name = "creators-who-are-no-members",
       .weight = Weight::kHandled,
       .row = "'chat ' || c.id || ', user ' || c.creator_user_id",
       .from = "public.chats c WHERE NOT EXISTS (SELECT FROM public.chat_user m"
               " WHERE m.chat_id = c.id AND m.user_id = c.creator_user_id) ORDER BY c.id",
       .what = "chats with a creator who is no member; they get no owner, until AddUserToChat "
               "names one"},
      {.name = "users-without-name",
       .weight = Weight::kHandled,
       .row = "'user ' || id",
       .from = "public.users WHERE name IS NULL ORDER BY id",
       .what = "users without a name; they get none"},
      {.name = "users-without-status",
       .weight = Weight::kHandled,
       .row = "'user ' || id",
       .from = "public.users WHERE status IS NULL ORDER BY id",
       .what = "users without a status; they become active"},
      {.name = "messages-of-one-time",
       .weight = Weight::kHandled,
       .row = "'chat ' || chat_id || ', ' || coalesce(created::text, 'NULL') || ': ' || count(*) ||"
              " ' messages from id ' || min(id)",
       .from = "public.messages WHERE chat_id IS NOT NULL GROUP BY chat_id, created"
               " HAVING count(*) > 1 ORDER BY chat_id, created",
       .what = "times of several messages of a chat, which the original showed in no "
               "certain order; they get that of their ids"},
  };
}

void Append(std::vector<RowCheck>& checks, std::vector<RowCheck> more) {
  for (RowCheck& check : more) checks.push_back(std::move(check));
}

// Lines as the rows of a FROM.
std::string ListText(const std::vector<std::string>& lines) {
  std::string values;
  for (const std::string& line : lines) {
    absl::StrAppend(&values, values.empty() ? "" : ", ", "(", QuoteLiteral(line), ")");
  }
  return absl::StrCat("(VALUES ", values, ") AS list (line)");
}

}  // namespace

std::vector<RowCheck> RowChecks(const OriginalSchema& schema) {
  std::vector<RowCheck> checks = Orphans();
  Append(checks, BrokenRules());
  if (!schema.extra_columns.empty()) {
    checks.push_back(
        {.name = "extra-columns",
         .weight = Weight::kStops,
         .row = "line",
         .from = ListText(schema.extra_columns),
         .what = "columns that are not of the original's models and have no place here",
         .advice = "look whether anybody needs them; --set-aside leaves them behind",
         .can_stay = true});
  }
  if (!schema.dependents.empty()) {
    checks.push_back(
        {.name = "dependents",
         .weight = Weight::kHandled,
         .row = "line",
         .from = ListText(schema.dependents),
         .what = "foreign keys and views of others that refer to these tables; they will go "
                 "on referring to the old ones, in schema original"});
  }
  Append(checks, Owners());
  Append(checks, Oddities());
  Append(checks, TimeChecks());
  for (const char* table : {"users", "chats", "messages"}) checks.push_back(Gaps(table));
  return checks;
}

absl::Status AddFinding(db::Connection& connection, const RowCheck& check,
                        const AdoptOptions& options, std::vector<Finding>& findings) {
  PARLEY_ASSIGN_OR_RETURN(
      const Result result,
      connection.Query(absl::StrCat(
          "SELECT ", check.row, ", count(*) OVER () FROM ",
          absl::StrReplaceAll(check.from, {{"{zone}", QuoteLiteral(options.time_zone)}}), " LIMIT ",
          options.rows_shown)));
  if (PQntuples(result.get()) == 0) return absl::OkStatus();
  Finding finding{
      .name = check.name, .weight = check.weight, .what = check.what, .advice = check.advice};
  if (check.can_stay && options.leftovers == Leftovers::kSetAside) {
    finding.weight = Weight::kHandled;
    finding.is_set_aside = true;
    finding.advice.clear();
    absl::StrAppend(&finding.what, "; they stay behind in schema original");
  }
  if (!absl::SimpleAtoi(FieldOf(result, 0, 1), &finding.count)) {
    return absl::InternalError(absl::StrCat(check.name, " cannot be counted"));
  }
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    finding.rows.emplace_back(FieldOf(result, row, 0));
  }
  findings.push_back(std::move(finding));
  return absl::OkStatus();
}

}  // namespace parley::adopt
