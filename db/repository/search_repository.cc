#include "db/repository/search_repository.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/transaction.h"
#include "db/repository/chat_repository.h"
#include "db/repository/message_rows.h"
#include "db/repository/paging.h"
#include "db/repository/statements.h"
#include "db/repository/user_repository.h"

namespace parley::db {

// A message and how well it matches.
struct FoundMessageRow {
  Message message;
  float rank = 0;
};

// What a search was asked for, as far as it exists.
struct ScopeRow {
  bool user_exists = false;
  bool chat_exists = false;
  bool is_member = false;
};

}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::db::FoundMessageRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::FoundMessageRow& out) {
    out.message = parley::db::MessageFromRow(row);
    if (!absl::SimpleAtof(row.get<std::string>("rank"), &out.rank)) out.rank = 0;
  }
};

template <>
struct type_conversion<parley::db::ScopeRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::ScopeRow& out) {
    out.user_exists = row.get<int>("user_exists") != 0;
    out.chat_exists = row.get<int>("chat_exists") != 0;
    out.is_member = row.get<int>("is_member") != 0;
  }
};

}  // namespace soci

namespace parley::db {
namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

// What UnderstandQuery answers.
enum QueryKind : std::int64_t { kNothing = 0, kEverythingBut = 1, kWords = 2 };

const Statement& StatementFor(SearchOrder order, std::int64_t kind) {
  if (order == SearchOrder::kRelevance) {
    return kind == kWords ? sql::search::SearchRanked : sql::search::WalkRanked;
  }
  return kind == kWords ? sql::search::SearchNewest : sql::search::WalkNewest;
}

// Whether a character may stand between two minus signs that PostgreSQL reads as one behind the
// other: no letter, no digit; of the characters beyond ASCII, those of the blocks with spaces in
// them.
bool MayStandBetween(absl::string_view rest) {
  const auto first = static_cast<unsigned char>(rest[0]);
  if (first < 0x80) return !absl::ascii_isalnum(first);
  constexpr absl::string_view kBlocks[] = {"\xC2", "\xE1\x9A", "\xE2\x80", "\xE2\x81", "\xE3\x80"};
  return (first & 0xC0) == 0x80 ||  // not the first byte of its character
         std::any_of(std::begin(kBlocks), std::end(kBlocks),
                     [&](absl::string_view block) { return absl::StartsWith(rest, block); });
}

// The query with fewer minus signs where there are very many in a row: websearch_to_tsquery
// promises to take any text, and fails with an internal error at 32. What they mean together stays:
// a not not is nothing.
std::string TameNegations(absl::string_view query) {
  constexpr int kMost = 16;
  std::string tamed;
  int minuses = 0;
  for (std::size_t i = 0; i < query.size(); ++i) {
    if (query[i] == '-') {
      if (++minuses > kMost && minuses % 2 == 1) {
        tamed.erase(tamed.rfind('-'), 1);  // this one and the one before cancel each other
        continue;
      }
    } else if (!MayStandBetween(query.substr(i))) {
      minuses = 0;
    }
    tamed.push_back(query[i]);
  }
  return tamed;
}

// OK if the user may search there and has simply found nothing.
absl::Status CheckScope(Session& session, const SearchRepository::SearchParams& params) {
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<ScopeRow> scope,
      session.QueryOptional<ScopeRow>(sql::search::FindScope,
                                      {{"user_id", params.user_id}, {"chat_id", params.chat_id}}));
  if (!scope || !scope->user_exists) return UserNotFound(params.user_id);
  if (params.chat_id == 0 || scope->is_member) return absl::OkStatus();
  if (!scope->chat_exists) return ChatNotFound(params.chat_id);
  return Error(
      absl::StatusCode::kPermissionDenied, reason::kNotAMember,
      absl::StrCat("user ", params.user_id, " is not a member of chat ", params.chat_id),
      {{"user_id", absl::StrCat(params.user_id)}, {"chat_id", absl::StrCat(params.chat_id)}});
}

// All but what the words are.
std::vector<Bind> Binds(const SearchRepository::SearchParams& params) {
  const SearchPosition after = params.page.after.value_or(SearchPosition());
  const std::int64_t limit = params.page.limit + 1;
  std::optional<absl::Time> after_time;
  if (params.page.after) after_time = after.create_time;
  std::vector<Bind> binds = {{"user_id", params.user_id},
                             {"first_chat_id", params.chat_id == 0 ? 1 : params.chat_id},
                             {"last_chat_id", params.chat_id == 0 ? kMax : params.chat_id},
                             {"after_us", after_time},
                             {"after_chat_id", after.chat_id},
                             {"after_seq", after.seq},
                             // WalkNewest adds them up.
                             {"offset", std::min(params.page.offset, kMax - limit)},
                             {"limit", limit}};
  if (params.order == SearchOrder::kRelevance) {
    // Nine digits tell any two floats apart.
    binds.emplace_back("after_rank", absl::StrFormat("%.9g", after.rank));
  }
  return binds;
}

}  // namespace

absl::Status SearchRepository::CheckLanguage(absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::Status {
    PARLEY_ASSIGN_OR_RETURN(
        const std::optional<IdRow> known,
        session.QueryOptional<IdRow>(sql::search::HasLanguage, {{"language", language_}}));
    if (known) return absl::OkStatus();
    return absl::NotFoundError(
        absl::StrCat("the database has no text search configuration '", language_, "'"));
  });
}

absl::StatusOr<Page<Message, SearchPosition>> SearchRepository::Search(const SearchParams& params,
                                                                       absl::Time deadline) {
  using Found = Page<Message, SearchPosition>;
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<Found> {
    const std::vector<Bind> words = {{"language", language_},
                                     {"query", TameNegations(params.query)}};
    PARLEY_ASSIGN_OR_RETURN(const std::optional<IdRow> kind,
                            session.QueryOptional<IdRow>(sql::search::UnderstandQuery, words));
    std::vector<FoundMessageRow> rows;
    if (kind && kind->id != kNothing) {
      std::vector<Bind> binds = Binds(params);
      binds.insert(binds.end(), words.begin(), words.end());
      PARLEY_ASSIGN_OR_RETURN(rows, session.Query<FoundMessageRow>(
                                        StatementFor(params.order, kind->id), std::move(binds)));
    }
    if (rows.empty()) PARLEY_RETURN_IF_ERROR(CheckScope(session, params));
    auto cut =
        CutPage<SearchPosition>(std::move(rows), params.page.limit, [](const FoundMessageRow& row) {
          return SearchPosition{row.rank, row.message.create_time, row.message.chat_id,
                                row.message.seq};
        });
    Found found{.next = cut.next};
    found.rows.reserve(cut.rows.size());
    for (FoundMessageRow& row : cut.rows) found.rows.push_back(std::move(row.message));
    return found;
  });
}

}  // namespace parley::db
