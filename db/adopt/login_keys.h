// The logins of the original, as chatd compares them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "db/adopt/finding.h"
#include "db/migrator/connection.h"

namespace parley::adopt {

struct LoginKeys {
  // User and key, for the logins that are not their own keys; of most databases a few.
  std::vector<std::pair<std::int64_t, std::string>> folded;
  std::vector<Finding> findings;  // logins that the rules refuse, logins that collide
};

// Reads public.users in the transaction that `connection` is in. Keeps all keys in memory while it
// runs. `rows_shown`: of each finding, at most.
absl::StatusOr<LoginKeys> WorkOutLoginKeys(db::Connection& connection, std::int64_t rows_shown);

}  // namespace parley::adopt
