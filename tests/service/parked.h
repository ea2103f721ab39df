// Knowing that somebody waits, without asking who waits.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/support/temp_database.h"

namespace parley::testing {

// Waits until a dispatcher on `database` has looked for the queues of somebody who waits, after
// `since`: whoever called before and found nothing is parked then.
inline void WaitUntilParked(const TempDatabase& database, absl::Time since) {
  const std::string looked = absl::StrCat(
      "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
      "AND query LIKE '%NextDue%' AND state = 'idle' AND extract(epoch FROM query_start) > ",
      absl::ToUnixMicros(since), " / 1e6");
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (database.Sql(looked) == "0") ASSERT_LT(absl::Now(), deadline);
}

}  // namespace parley::testing
