#include "db/migrator/problem.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace parley::db {
namespace {

constexpr absl::string_view kPayload = "parley/migrator-problem";
constexpr absl::string_view kFile = "parley/migrator-file";
constexpr absl::string_view kLine = "parley/migrator-line";
constexpr absl::string_view kColumn = "parley/migrator-column";
constexpr absl::string_view kSqlState = "parley/migrator-sqlstate";

absl::StatusCode CodeOf(Problem problem) {
  if (problem == Problem::kUsage) return absl::StatusCode::kInvalidArgument;
  if (problem == Problem::kLocked) return absl::StatusCode::kDeadlineExceeded;
  return absl::StatusCode::kFailedPrecondition;
}

std::string TextOf(const absl::Status& status, absl::string_view key) {
  const absl::optional<absl::Cord> payload = status.GetPayload(key);
  return payload ? std::string(*payload) : std::string();
}

std::int32_t NumberOf(const absl::Status& status, absl::string_view key) {
  std::int32_t number = 0;
  return absl::SimpleAtoi(TextOf(status, key), &number) ? number : 0;
}

}  // namespace

absl::Status WithPlace(absl::Status status, const ErrorPlace& place) {
  if (!place.file.empty()) status.SetPayload(kFile, absl::Cord(place.file));
  if (place.line > 0) status.SetPayload(kLine, absl::Cord(absl::StrCat(place.line)));
  if (place.column > 0) status.SetPayload(kColumn, absl::Cord(absl::StrCat(place.column)));
  if (!place.sqlstate.empty()) status.SetPayload(kSqlState, absl::Cord(place.sqlstate));
  return status;
}

ErrorPlace PlaceOf(const absl::Status& status) {
  return {.file = TextOf(status, kFile),
          .line = NumberOf(status, kLine),
          .column = NumberOf(status, kColumn),
          .sqlstate = TextOf(status, kSqlState)};
}

std::string ToString(const ErrorPlace& place) {
  std::string text = place.file;
  if (place.line > 0) absl::StrAppend(&text, ":", place.line);
  if (place.column > 0) absl::StrAppend(&text, ":", place.column);
  return text;
}

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
