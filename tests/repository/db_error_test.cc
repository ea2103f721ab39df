#include "db/core/db_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <soci/soci.h>

#include <stdexcept>

#include "tests/support/status_matchers.h"

namespace parley::db {
namespace {

using absl::StatusCode;

TEST(StatusFromSqlState, MapsEveryClassThatCallersCanTellApart) {
  const struct {
    const char* sqlstate;
    StatusCode code;
  } kCases[] = {
      {"23505", StatusCode::kAlreadyExists}, {"23503", StatusCode::kFailedPrecondition},
      {"40001", StatusCode::kAborted},       {"40P01", StatusCode::kAborted},
      {"55P03", StatusCode::kAborted},       {"57014", StatusCode::kDeadlineExceeded},
      {"08006", StatusCode::kUnavailable},   {"53300", StatusCode::kUnavailable},
      {"57P01", StatusCode::kUnavailable},   {"25006", StatusCode::kUnavailable},
      {"26000", StatusCode::kUnavailable},   {"0A000", StatusCode::kUnavailable},
      {"", StatusCode::kUnavailable},        {"42P01", StatusCode::kInternal},
      {"23514", StatusCode::kInternal},      {"22021", StatusCode::kInternal},
  };
  for (const auto& [sqlstate, code] : kCases) {
    EXPECT_EQ(StatusFromSqlState(sqlstate, "x.Y").code(), code) << sqlstate;
  }
}

TEST(StatusFromSqlState, TellsWhatMayBeRunAgain) {
  EXPECT_TRUE(IsRetryable(StatusFromSqlState("40001", "x.Y")));
  EXPECT_TRUE(IsRetryable(StatusFromSqlState("40P01", "x.Y")));
  EXPECT_FALSE(IsRetryable(StatusFromSqlState("55P03", "x.Y")));
  EXPECT_FALSE(IsRetryable(StatusFromSqlState("23505", "x.Y")));
}

TEST(StatusFromSqlState, TellsALostConnection) {
  EXPECT_TRUE(IsConnectionLost(StatusFromSqlState("57P01", "x.Y")));
  EXPECT_FALSE(IsConnectionLost(StatusFromSqlState("40001", "x.Y")));
  EXPECT_FALSE(IsConnectionLost(absl::UnavailableError("something else")));
}

TEST(Guard, TurnsExceptionsIntoStatuses) {
  EXPECT_THAT(Guard("x.Y", [] {}), parley::testing::IsOk());
  EXPECT_EQ(Guard("x.Y", [] { throw soci::soci_error("bad"); }).code(), StatusCode::kInternal);
  EXPECT_EQ(Guard("x.Y", [] { throw std::runtime_error("bad"); }).code(), StatusCode::kInternal);
}

}  // namespace
}  // namespace parley::db
