// Reading columns out of SOCI's rows.
#pragma once

#include <soci/soci.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"

namespace parley::db {

// A timestamptz, selected as bigint microseconds since 1970 (SOCI's own dates lose them).
inline absl::Time TimeColumn(const soci::values& row, const char* name) {
  return absl::FromUnixMicros(row.get<long long>(name));
}

inline std::optional<absl::Time> OptionalTimeColumn(const soci::values& row, const char* name) {
  if (row.get_indicator(name) == soci::i_null) return std::nullopt;
  return TimeColumn(row, name);
}

inline std::optional<std::string> OptionalTextColumn(const soci::values& row, const char* name) {
  if (row.get_indicator(name) == soci::i_null) return std::nullopt;
  return row.get<std::string>(name);
}

// A row of one bigint, named id.
struct IdRow {
  std::int64_t id = 0;
};

}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::db::IdRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::IdRow& out) {
    out.id = row.get<long long>("id");
  }
};

}  // namespace soci
