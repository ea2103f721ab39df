#include "db/adopt/steps.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "base/status_macros.h"

namespace parley::adopt {

absl::Status Steps::Run(std::string what, const std::string& sql) {
  PARLEY_ASSIGN_OR_RETURN(const db::Result result, connection_.Query(sql));
  std::int64_t rows = -1;
  if (!absl::SimpleAtoi(PQcmdTuples(result.get()), &rows)) rows = -1;
  Report(std::move(what), rows);
  return absl::OkStatus();
}

}  // namespace parley::adopt
