#include "db/adopt/time_checks.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace parley::adopt {
namespace {

// What a Timestamp can hold, in whatever zone; other times cannot all be brought to another zone,
// so only the first check reads them.
constexpr absl::string_view kPossible = "BETWEEN '0001-01-02' AND '9999-12-30'";

// Of one table; `noun` is one row of it.
std::vector<RowCheck> ChecksOf(absl::string_view table, absl::string_view noun) {
  const std::string row = absl::StrCat("'", noun, " ' || id");
  std::vector<RowCheck> checks = {
      {.name = absl::StrCat(table, "-with-impossible-times"),
       .weight = Weight::kStops,
       .row = absl::StrCat(row,
                           " || ': ' || coalesce(created::text, 'NULL') || ', ' ||"
                           " coalesce(updated::text, 'NULL')"),
       .from = "public.{table} WHERE created NOT {possible} OR updated NOT {possible} ORDER BY id",
       .what = "{table} with a time before the year 1 or after the year 9999",
       .advice = "UPDATE public.{table} SET created = now(), updated = now() WHERE id = 1"},
      {.name = absl::StrCat(table, "-without-times"),
       .weight = Weight::kHandled,
       .row = row,
       .from = "public.{table} WHERE created IS NULL OR updated IS NULL ORDER BY id",
       .what =
           "{table} that lack a time; the other one stands in, or else one of what is around it"},
      {.name = absl::StrCat(table, "-at-times-that-occur-twice"),
       .weight = Weight::kHandled,
       .row = absl::StrCat(row, " || ': ' || created"),
       .from = "{timed} WHERE (at - interval '1 h') AT TIME ZONE {zone} = created"
               " OR (at - interval '30 min') AT TIME ZONE {zone} = created ORDER BY id",
       .what = "{table} created at a time that clocks in the zone showed twice; the second is "
               "taken"},
      {.name = absl::StrCat(table, "-at-times-that-do-not-occur"),
       .weight = Weight::kHandled,
       .row = absl::StrCat(row, " || ': ' || created"),
       .from = "{timed} WHERE at AT TIME ZONE {zone} <> created ORDER BY id",
       .what = "{table} created at a time that clocks in the zone skipped; it is read as if "
               "they had not been put forward yet"},
  };
  for (RowCheck& check : checks) {
    absl::StrReplaceAll({{"{timed}",
                          "(SELECT id, created, created AT TIME ZONE {zone} AS at"
                          " FROM public.{table} WHERE created {possible} OFFSET 0) AS timed"}},
                        &check.from);
    absl::StrReplaceAll({{"{table}", table}}, &check.from);
    absl::StrReplaceAll({{"{table}", table}}, &check.what);
    absl::StrReplaceAll({{"{table}", table}}, &check.advice);
  }
  return checks;
}

// Messages at {from} or later, but not later than {to}, both of the zone's clocks. What a message
// lacks is taken from its chat.
constexpr absl::string_view kMessagesAheadSql =
    "(SELECT m.id, m.chat_id, coalesce(m.created, m.updated, c.created, c.updated) AS at"
    " FROM public.messages m LEFT JOIN public.chats c ON c.id = m.chat_id) AS timed"
    " WHERE at > {from} AT TIME ZONE {zone} AND at <= {to} ORDER BY id";

std::vector<RowCheck> ChecksOfMessages() {
  const std::string row = "'message ' || id || coalesce(', chat ' || chat_id, '') || ': ' || at";
  return {
      {.name = "messages-of-the-future",
       .weight = Weight::kStops,
       .row = row,
       .from = absl::StrReplaceAll(
           kMessagesAheadSql, {{"{from}", "(now() + interval '1 day')"}, {"{to}", "'9999-12-30'"}}),
       .what = "messages more than a day ahead of now; until then, all new messages of their chats "
               "would have that time",
       .advice = "UPDATE public.messages SET created = now(), updated = now() WHERE id = 1"},
      {.name = "messages-ahead-of-now",
       .weight = Weight::kHandled,
       .row = row,
       .from = absl::StrReplaceAll(
           kMessagesAheadSql,
           {{"{from}", "now()"}, {"{to}", "(now() + interval '1 day') AT TIME ZONE {zone}"}}),
       .what = "messages up to a day ahead of now, as --time-zone reads them, which is likely not "
               "the zone they were written in; they keep these times, and new messages of their "
               "chats are not earlier"},
      {.name = "messages-whose-time-moves",
       .weight = Weight::kHandled,
       .row = "'message ' || id || ', chat ' || chat_id",
       .from = "(SELECT id, chat_id, at, max(at) OVER (PARTITION BY chat_id ORDER BY created NULLS"
               " LAST, id ROWS UNBOUNDED PRECEDING) AS kept"
               " FROM (SELECT id, chat_id, created, coalesce(created, updated) AT TIME ZONE {zone}"
               " AS at FROM public.messages WHERE coalesce(created, updated) {possible}"
               " OFFSET 0) AS timed) AS pair WHERE at < kept ORDER BY id",
       .what = "messages that would be older than one that they follow; they get its time"},
  };
}

}  // namespace

std::vector<RowCheck> TimeChecks() {
  std::vector<RowCheck> checks;
  for (std::vector<RowCheck>& part :
       std::vector{ChecksOf("users", "user"), ChecksOf("chats", "chat"),
                   ChecksOf("messages", "message"), ChecksOfMessages()}) {
    for (RowCheck& check : part) {
      absl::StrReplaceAll({{"{possible}", kPossible}}, &check.from);
      checks.push_back(std::move(check));
    }
  }
  return checks;
}

}  // namespace parley::adopt
