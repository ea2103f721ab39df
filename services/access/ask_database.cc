#include "services/access/ask_database.h"

#include "base/error.h"
#include "base/status_macros.h"

namespace parley::access {
namespace {

// In how many of the chats the user has what is needed.
std::int64_t Enough(Need::Kind kind, const db::RoleCounts& counts) {
  switch (kind) {
    case Need::Kind::kMember:
      return counts.member;
    case Need::Kind::kManager:
      return counts.manager;
    case Need::Kind::kOwner:
      return counts.owner;
    case Need::Kind::kNothing:
    case Need::Kind::kRefused:
      break;  // nobody asks
  }
  return 0;
}

}  // namespace

Gatekeeper::AskNeed AskDatabase(db::AccessRepository& roles) {
  return [&roles](const Need& need, std::int64_t user_id, absl::Time deadline) -> absl::Status {
    PARLEY_ASSIGN_OR_RETURN(const db::RoleCounts counts,
                            roles.CountRoles(user_id, need.chat_ids, need.message_ids, deadline));
    const bool may = counts.wanted > 0 && Enough(need.kind, counts) == counts.wanted;
    return may ? absl::OkStatus() : NotPermittedError();
  };
}

}  // namespace parley::access
