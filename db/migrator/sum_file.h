// SUM, the file beside the migrations that says what they are: one line a file, in order, with a
// hash that also covers the line before it. (The idea is that of Atlas's atlas.sum.)
//
//   20261101000000_foundation.sql 0f3c...
//
// Changing, removing or slipping in a file is then a change of SUM too, which nobody makes by
// accident; and two branches that both add a file meet in a conflict.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "db/migrator/migration_set.h"

namespace parley::db {

inline constexpr char kSumFileName[] = "SUM";

// The text that SUM must have.
std::string SumOf(const MigrationSet& set);

// Problem kMismatch if `sum` is not SumOf(set); it names the first file that differs.
absl::Status CheckSum(const MigrationSet& set, absl::string_view sum);

}  // namespace parley::db
