#include "db/migrator/problem.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace parley::db {
namespace {

constexpr absl::string_view kPayload = "parley/migrator-problem";

absl::StatusCode CodeOf(Problem problem) {
  if (problem == Problem::kUsage) return absl::StatusCode::kInvalidArgument;
  if (problem == Problem::kLocked) return absl::StatusCode::kDeadlineExceeded;
  return absl::StatusCode::kFailedPrecondition;
}

}  // namespace

absl::Status ProblemError(Problem problem, absl::string_view text) {
  absl::Status status(CodeOf(problem), text);
  status.SetPayload(kPayload, absl::Cord(absl::StrCat(static_cast<int>(problem))));
  return status;
}

Problem ProblemOf(const absl::Status& status) {
  if (status.ok()) return Problem::kNone;
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayload);
  int value = 0;
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &value)) return Problem::kError;
  return static_cast<Problem>(value);
}

}  // namespace parley::db
