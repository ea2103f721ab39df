// Finds messages in PostgreSQL by their words.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/session_pool.h"
#include "db/model/message.h"
#include "db/model/page.h"
#include "db/model/search.h"

namespace parley::db {

// Thread-safe. Every call blocks until `deadline` at most, and may end with UNAVAILABLE or
// DEADLINE_EXCEEDED besides what it says.
class SearchRepository {
 public:
  // `language` is the text search configuration that queries are understood in; it should be the
  // one that messages were written with.
  SearchRepository(SessionPool& pool, std::string language)
      : pool_(pool), language_(std::move(language)) {}

  // NOT_FOUND if the database does not know the language. For the start of a program.
  absl::Status CheckLanguage(absl::Time deadline);

  struct SearchParams {
    std::string query;  // as typed into a search box; no input is an error
    std::int64_t user_id = 0;
    std::int64_t chat_id = 0;  // 0: all chats of the user
    SearchOrder order = SearchOrder::kNewest;
    PageParams<SearchPosition> page;
  };
  // Only what the user may read: in chats that the user is a member of, not deleted, not below the
  // chat's retention floor. NOT_FOUND: USER_NOT_FOUND, CHAT_NOT_FOUND. PERMISSION_DENIED:
  // NOT_A_MEMBER, of chat_id.
  absl::StatusOr<Page<Message, SearchPosition>> Search(const SearchParams& params,
                                                       absl::Time deadline);

 private:
  SessionPool& pool_;
  const std::string language_;
};

}  // namespace parley::db
