// How lists are cut into pages.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace parley {

// Which rows of a list a page holds: after `after` (a position that the list's order defines), then
// `offset` rows skipped, then at most `limit` rows.
template <class Position>
struct PageParams {
  std::int32_t limit = 20;  // rows, at least 1
  std::int64_t offset = 0;  // rows
  std::optional<Position> after;
};

// A page, and where the next one begins; `next` is absent on the last page.
template <class Row, class Position>
struct Page {
  std::vector<Row> rows;
  std::optional<Position> next;
};

}  // namespace parley
