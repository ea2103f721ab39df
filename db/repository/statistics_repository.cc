#include "db/repository/statistics_repository.h"

#include <soci/soci.h>

#include <optional>

#include "base/status_macros.h"
#include "db/core/transaction.h"
#include "db/repository/columns.h"
#include "db/repository/statements.h"

namespace soci {

template <>
struct type_conversion<parley::db::StatisticsRepository::TableRows> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/,
                        parley::db::StatisticsRepository::TableRows& out) {
    out.table = row.get<std::string>("name");
    out.live = row.get<long long>("live_rows");
    out.dead = row.get<long long>("dead_rows");
  }
};

}  // namespace soci

namespace parley::db {
namespace {

// The number that a statement returns; 0 without a row.
absl::StatusOr<std::int64_t> QueryNumber(SessionPool& pool, const Statement& statement,
                                         absl::Time deadline) {
  return RunOnce(pool, deadline, [&](Session& session) -> absl::StatusOr<std::int64_t> {
    PARLEY_ASSIGN_OR_RETURN(const std::optional<IdRow> row,
                            session.QueryOptional<IdRow>(statement, {}));
    return row ? row->id : 0;
  });
}

}  // namespace

absl::StatusOr<std::vector<StatisticsRepository::TableRows>> StatisticsRepository::GetTableRows(
    const std::vector<std::string>& tables, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) {
    return session.Query<TableRows>(sql::statistics::GetTableRows,
                                    {{"tables", ArrayLiteral(tables)}});
  });
}

absl::StatusOr<std::int64_t> StatisticsRepository::GetOldestXmin(absl::Time deadline) {
  return QueryNumber(pool_, sql::statistics::GetOldestXmin, deadline);
}

absl::StatusOr<absl::Duration> StatisticsRepository::GetOldestDueTask(absl::Time deadline) {
  PARLEY_ASSIGN_OR_RETURN(const std::int64_t age,
                          QueryNumber(pool_, sql::statistics::GetOldestDueTask, deadline));
  return absl::Microseconds(age);
}

}  // namespace parley::db
