// What was there before an adoption, as it should read, beside what is there after it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "db/adopt/expected_rows.h"
#include "db/migrator/connection.h"

namespace parley::adopt {

// Rows and what their content sums up to: the same for the same rows, whatever their order.
struct Content {
  std::int64_t rows = 0;
  std::string checksum = "0";

  bool operator==(const Content& other) const = default;
};

// One table; of `messages`, one chat of it.
struct ComparedRows {
  std::string table;
  std::string chat_id;           // of messages only
  Content expected;              // the original's rows as they should read
  std::optional<Content> found;  // Parley's; nullopt before the adoption
};

// Whether all that should be there is, and nothing else. False for what was not compared.
bool AreEqual(const std::vector<ComparedRows>& rows);

enum class CompareWith { kNothing, kParleysTables };

// In the transaction that `connection` is in. The checksums are over rows as text, so the session's
// TimeZone and DateStyle must always be the same.
absl::StatusOr<std::vector<ComparedRows>> CompareRows(db::Connection& connection,
                                                      const ExpectedRows& expected,
                                                      CompareWith with);

}  // namespace parley::adopt
