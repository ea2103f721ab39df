#include "db/repository/access_repository.h"

#include <soci/soci.h>

#include "base/status_macros.h"
#include "db/core/transaction.h"
#include "db/repository/statements.h"

namespace soci {

template <>
struct type_conversion<parley::db::RoleCounts> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::RoleCounts& out) {
    out = {row.get<long long>("wanted"), row.get<long long>("member"),
           row.get<long long>("manager"), row.get<long long>("owner")};
  }
};

}  // namespace soci

namespace parley::db {

absl::StatusOr<RoleCounts> AccessRepository::CountRoles(
    std::int64_t user_id, const std::vector<std::int64_t>& chat_ids,
    const std::vector<std::int64_t>& message_ids, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<RoleCounts> {
    PARLEY_ASSIGN_OR_RETURN(
        const std::vector<RoleCounts> rows,
        session.Query<RoleCounts>(sql::access::CountRoles,
                                  {{"user_id", user_id},
                                   {"chat_ids", ArrayLiteral(chat_ids)},
                                   {"message_ids", ArrayLiteral(message_ids)}}));
    return rows.front();  // an aggregate has one row, always
  });
}

}  // namespace parley::db
