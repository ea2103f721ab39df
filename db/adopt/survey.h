// What there is to adopt, and whether it can be.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "db/adopt/adopt_options.h"
#include "db/adopt/finding.h"
#include "db/adopt/label_map.h"
#include "db/adopt/original_schema.h"
#include "db/migrator/connection.h"
#include "db/migrator/migration_set.h"

namespace parley::adopt {

// What the flags say the labels mean.
struct Labels {
  LabelMap chat_types;
  LabelMap user_statuses;
};
// kUsage (problem.h), naming the flag.
absl::StatusOr<Labels> ParseLabels(const AdoptOptions& options);

struct Survey {
  OriginalSchema schema;
  // Rows by table, in the order of kOriginalTables.
  std::vector<std::pair<std::string, std::int64_t>> rows;
  // Of users whose login is not its own key.
  std::vector<std::pair<std::int64_t, std::string>> folded_logins;
  std::vector<Finding> findings;  // what stops comes first

  bool Stops() const { return !findings.empty() && findings.front().weight == Weight::kStops; }
};

// Looks at everything, in the transaction that `connection` is in, and changes nothing. If the
// tables are not the original's, their rows are not looked at.
absl::StatusOr<Survey> MakeSurvey(db::Connection& connection, const db::MigrationSet& set,
                                  const AdoptOptions& options, const Labels& labels);

}  // namespace parley::adopt
