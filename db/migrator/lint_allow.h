// "-- parley:allow rule-name because reason", the comments that answer for a broken rule (lint.h),
// and what else may be wrong with comments that begin with "parley:".
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "db/migrator/lint_rules.h"
#include "db/migrator/migration_file.h"

namespace parley::db {

class Allowances {
 public:
  // `lines` are those of the migration's file.
  Allowances(std::span<const absl::string_view> lines, const Migration& migration);

  // Whether `rule` may be broken by the statement, or the marker, that begins in `line`.
  bool Allow(absl::string_view rule, std::int32_t line);

  // What is wrong with the comments themselves, after all questions were asked.
  void ReportFaults(const std::function<void(const LineFinding&)>& report) const;

 private:
  struct Allowance {
    std::int32_t line = 0;    // of the comment
    std::int32_t target = 0;  // the line that it is for; 0: the whole file
    std::string rule;
    std::string fault;  // empty if it is well formed
    bool is_used = false;
  };
  static Allowance Parse(absl::string_view text);

  std::vector<Allowance> allowances_;
};

}  // namespace parley::db
