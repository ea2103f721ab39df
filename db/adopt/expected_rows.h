// The original's rows as they should read in Parley's tables, as SQL. What is copied and what the
// copy is compared with are both made of it.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "db/adopt/adopt_options.h"
#include "db/adopt/survey.h"

namespace parley::adopt {

// Each a SELECT; the columns are named as in Parley's table. Rows that have no place there are left
// out.
struct ExpectedRows {
  std::string users;      // id, login, name, status, created_at, updated_at
  std::string chats;      // id, title, description, chat_type, creator_user_id, last_seq,
                          // user_count, last_sent_at, created_at, updated_at
  std::string chat_user;  // chat_id, user_id, role, joined_at, read_seq
  // chat_id, seq, id, user_id, text, created_at, updated_at. By chat and in the order of seq, so
  // that the primary key grows at its end.
  std::string messages;
};

// `schema` is where the original's tables are.
ExpectedRows ExpectedRowsOf(const Survey& survey, const Labels& labels, const AdoptOptions& options,
                            absl::string_view schema);

}  // namespace parley::adopt
