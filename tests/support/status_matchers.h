// Matchers for absl::Status and absl::StatusOr; Abseil 20220623 ships none.
#pragma once

#include <gmock/gmock.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/error.h"

namespace parley::testing {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <class T>
const absl::Status& StatusOf(const absl::StatusOr<T>& status_or) {
  return status_or.status();
}

// The value is OK.
MATCHER(IsOk, negation ? "is not OK" : "is OK") {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).ok();
}

// The value is OK and what it holds matches.
MATCHER_P(IsOkAndHolds, matcher, "is OK and holds what matches") {
  if (!arg.ok()) {
    *result_listener << arg.status().ToString();
    return false;
  }
  return ::testing::ExplainMatchResult(matcher, *arg, result_listener);
}

// The error has this code and, in its ErrorInfo, this reason.
MATCHER_P2(StatusIs, code, reason, "has the code and the reason") {
  const absl::Status& status = StatusOf(arg);
  *result_listener << status.ToString() << " reason " << DetailsOf(status).reason;
  return status.code() == code && DetailsOf(status).reason == std::string(reason);
}

// The error is INVALID_ARGUMENT and names the field.
MATCHER_P(Violates, field, "is INVALID_ARGUMENT and names the field") {
  const absl::Status& status = StatusOf(arg);
  *result_listener << status.ToString();
  for (const auto& [name, description] : DetailsOf(status).violations) {
    if (name == field) return status.code() == absl::StatusCode::kInvalidArgument;
  }
  return false;
}

}  // namespace parley::testing
