// Parley's tables, filled from the original's.
#pragma once

#include "absl/status/status.h"
#include "db/adopt/adopt_options.h"
#include "db/adopt/expected_rows.h"
#include "db/adopt/steps.h"
#include "db/adopt/survey.h"
#include "db/migrator/connection.h"

namespace parley::adopt {

// Copies what `expected` selects from schema `original` into the empty tables of `public`, with all
// that is derived from it; sets the sequences, makes indexes and statistics. In the transaction
// that `connection` is in.
absl::Status FillTables(db::Connection& connection, const Survey& survey,
                        const ExpectedRows& expected, const AdoptOptions& options, Steps& steps);

}  // namespace parley::adopt
