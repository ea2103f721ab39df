// Filling a big table quickly: its indexes and foreign keys are made once it is full.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "db/migrator/connection.h"

namespace parley::adopt {

// What was taken off a table, and how it is made again.
struct TakenOff {
  std::string what;  // "index messages_search"
  std::string sql;
};

// Drops the foreign keys of `table` (in schema public) and its indexes, but those behind a primary
// key or a unique constraint, in the transaction that `connection` is in. They are to be made
// again, in the order given, before it ends.
absl::StatusOr<std::vector<TakenOff>> TakeOffIndexes(db::Connection& connection,
                                                     const std::string& table);

}  // namespace parley::adopt
