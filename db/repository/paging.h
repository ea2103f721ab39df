// What the repositories share: pages, ids from sequences.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/session.h"
#include "db/core/transaction.h"
#include "db/model/page.h"
#include "db/repository/columns.h"
#include "db/repository/request_log.h"
#include "db/repository/statements.h"

namespace parley::db {

// Makes a page of at most `limit` rows; `rows` was read with one row more, to learn whether there
// is a next page. `position` tells the place of a row in the list's order.
template <class Position, class Row, class PositionOf>
Page<Row, Position> CutPage(std::vector<Row> rows, std::int32_t limit, PositionOf position) {
  Page<Row, Position> page;
  if (rows.size() > static_cast<std::size_t>(limit)) {
    rows.resize(static_cast<std::size_t>(limit));
    page.next = position(rows.back());
  }
  page.rows = std::move(rows);
  return page;
}

// The next value of a sequence.
inline absl::StatusOr<std::int64_t> NextId(Session& session, absl::string_view sequence) {
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> row,
      session.QueryOptional<IdRow>(sql::request::NextId, {{"sequence", sequence}}));
  if (!row) return InternalError("a sequence gave no value");
  return row->id;
}

// A write with a request id may be sent again without harm.
inline OnLostCommit LostCommitOf(const RequestKey& key) {
  return key.id.empty() ? OnLostCommit::kInDoubt : OnLostCommit::kSafeToRetry;
}

}  // namespace parley::db
