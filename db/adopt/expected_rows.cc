#include "db/adopt/expected_rows.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "db/adopt/sql_quote.h"

namespace parley::adopt {
namespace {

constexpr absl::string_view kUsersSql =
    "SELECT id::bigint AS id, login::text AS login, name::text AS name,"
    "       coalesce({user_status}, 'active') AS status,"
    "       coalesce(created AT TIME ZONE {zone}, updated AT TIME ZONE {zone}, now()) AS "
    "created_at,"
    "       coalesce(updated AT TIME ZONE {zone}, created AT TIME ZONE {zone}, now()) AS updated_at"
    " FROM {schema}.users";

// The messages that have a place, each with its own time: `at`.
constexpr absl::string_view kTimedMessagesSql =
    "SELECT m.chat_id, m.id, m.user_id, m.text, m.created,"
    "       coalesce(m.created, m.updated, c.created, c.updated) AT TIME ZONE {zone} AS at,"
    "       m.updated AT TIME ZONE {zone} AS changed"
    " FROM {schema}.messages m"
    " JOIN {schema}.chats c ON c.id = m.chat_id"
    " JOIN {schema}.users u ON u.id = m.user_id"
    " WHERE m.text <> ''";

// get_last_messages gives what has no time first, so it is the newest. Of one time, the ids decide.
constexpr absl::string_view kMessagesSql =
    "SELECT chat_id::bigint AS chat_id, seq, id::bigint AS id, user_id::bigint AS user_id,"
    "       text::text AS text, created_at,"
    "       CASE WHEN created_at > at THEN greatest(changed, created_at)"
    "            ELSE coalesce(changed, created_at) END AS updated_at"
    " FROM (SELECT *, row_number() OVER history AS seq,"
    "              coalesce(max(at) OVER history, now()) AS created_at"
    "       FROM ({timed_messages}) AS timed"
    "       WINDOW history AS (PARTITION BY chat_id ORDER BY created NULLS LAST, id"
    "                          ROWS UNBOUNDED PRECEDING)) AS numbered";

constexpr absl::string_view kMembersSql =
    "SELECT DISTINCT cu.chat_id, cu.user_id"
    " FROM {schema}.chat_user cu"
    " JOIN {schema}.chats c ON c.id = cu.chat_id"
    " JOIN {schema}.users u ON u.id = cu.user_id";

constexpr absl::string_view kChatsSql =
    "SELECT c.id::bigint AS id, c.title::text AS title, c.description::text AS description,"
    "       {chat_type} AS chat_type, c.creator_user_id::bigint AS creator_user_id,"
    "       coalesce(history.messages, 0) AS last_seq,"
    "       coalesce(members.users, 0)::integer AS user_count,"
    "       CASE WHEN history.messages > 0 THEN coalesce(history.last_at, now()) END AS "
    "last_sent_at,"
    "       coalesce(c.created AT TIME ZONE {zone}, c.updated AT TIME ZONE {zone},"
    "                history.first_at, now()) AS created_at,"
    "       coalesce(c.updated AT TIME ZONE {zone}, c.created AT TIME ZONE {zone},"
    "                history.first_at, now()) AS updated_at"
    " FROM {schema}.chats c"
    " LEFT JOIN (SELECT chat_id, count(*) AS messages, min(at) AS first_at, max(at) AS last_at"
    "            FROM ({timed_messages}) AS timed GROUP BY chat_id) AS history"
    "   ON history.chat_id = c.id"
    " LEFT JOIN (SELECT chat_id, count(*) AS users FROM ({members}) AS member GROUP BY chat_id)"
    "   AS members ON members.chat_id = c.id";

// Nobody wants to find years of history unread.
constexpr absl::string_view kChatUserSql =
    "SELECT member.chat_id::bigint AS chat_id, member.user_id::bigint AS user_id,"
    "       CASE WHEN member.user_id = chat.creator_user_id THEN 'owner' ELSE 'member' END AS role,"
    "       chat.created_at AS joined_at, chat.last_seq AS read_seq"
    " FROM ({members}) AS member"
    " JOIN ({chats}) AS chat ON chat.id = member.chat_id";

}  // namespace

ExpectedRows ExpectedRowsOf(const Survey& survey, const Labels& labels, const AdoptOptions& options,
                            absl::string_view schema) {
  const auto fill = [&](absl::string_view sql) {
    // Outer pieces first: they hold the inner ones.
    const std::string whole =
        absl::StrReplaceAll(absl::StrReplaceAll(sql, {{"{chats}", kChatsSql}}),
                            {{"{timed_messages}", kTimedMessagesSql}, {"{members}", kMembersSql}});
    return absl::StrReplaceAll(
        whole, {{"{schema}", schema},
                {"{zone}", QuoteLiteral(options.time_zone)},
                {"{chat_type}",
                 labels.chat_types.MeaningSql("c.chat_type", survey.schema.chat_type.labels)},
                {"{user_status}",
                 labels.user_statuses.MeaningSql("status", survey.schema.user_status.labels)}});
  };
  return {.users = fill(kUsersSql),
          .chats = fill(kChatsSql),
          .chat_user = fill(kChatUserSql),
          .messages = fill(kMessagesSql)};
}

}  // namespace parley::adopt
