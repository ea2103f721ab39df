#include "db/adopt/steps.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace parley::adopt {
namespace {

constexpr absl::Duration kTellEvery = absl::Seconds(10);

}  // namespace

absl::Status Steps::Run(std::string what, const std::string& sql) {
  const auto tell = [&] {
    if (report_) report_({.what = absl::StrCat("not yet: ", what), .took = SteadyNow() - begun_});
  };
  const db::Result result = connection_.RunWatched(sql, kTellEvery, tell).result;
  if (!db::Succeeded(result)) {
    const std::string error = absl::StrCat(what, ": ", db::ErrorTextOf(result));
    return connection_.IsLost() ? absl::UnavailableError(error) : absl::InternalError(error);
  }
  std::int64_t rows = -1;
  if (!absl::SimpleAtoi(PQcmdTuples(result.get()), &rows)) rows = -1;
  Report(std::move(what), rows);
  return absl::OkStatus();
}

}  // namespace parley::adopt
