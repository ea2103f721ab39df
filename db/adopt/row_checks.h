// What an adoption asks of the original's rows: a list of questions in SQL.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "db/adopt/adopt_options.h"
#include "db/adopt/finding.h"
#include "db/adopt/original_schema.h"
#include "db/migrator/connection.h"

namespace parley::adopt {

// One question. `from` is all that follows FROM; each row it yields is one of those that `what`
// speaks of, and `row` shows it. {zone} stands for the zone's literal.
struct RowCheck {
  std::string name;
  Weight weight;
  std::string row;
  std::string from;
  std::string what;
  std::string advice;
  // What is behind it can stay in schema `original` if the operator says so.
  bool can_stay = false;
};

// All that need no database to be put, and none of labels and logins. `schema` is the original's.
std::vector<RowCheck> RowChecks(const OriginalSchema& schema);

// Puts one question to the transaction that `connection` is in; adds to `findings` if there are
// rows.
absl::Status AddFinding(db::Connection& connection, const RowCheck& check,
                        const AdoptOptions& options, std::vector<Finding>& findings);

}  // namespace parley::adopt
