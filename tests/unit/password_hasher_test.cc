#include "services/chat/password_hasher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/status_matchers.h"

namespace parley::chat {
namespace {

using parley::testing::IsOkAndHolds;
using ::testing::StartsWith;

TEST(PasswordHasher, VerifiesTheRightPasswordOnly) {
  const PasswordHasher hasher;
  const std::string hash = hasher.Hash("correct horse").value();
  EXPECT_THAT(hash, StartsWith("$argon2id$"));
  EXPECT_THAT(hasher.Verify("correct horse", hash), IsOkAndHolds(true));
  EXPECT_THAT(hasher.Verify("correct horsE", hash), IsOkAndHolds(false));
  EXPECT_THAT(hasher.Verify("", hash), IsOkAndHolds(false));
  EXPECT_THAT(hasher.Verify("correct horse", "not a hash"), IsOkAndHolds(false));
}

TEST(PasswordHasher, SaltsEveryHash) {
  const PasswordHasher hasher;
  EXPECT_NE(hasher.Hash("x").value(), hasher.Hash("x").value());
}

TEST(PasswordHasher, NeverVerifiesNobody) {
  EXPECT_THAT(PasswordHasher().VerifyNobody("a password that nobody has"), IsOkAndHolds(false));
}

TEST(PasswordHasher, ComparesPlainTexts) {
  const PasswordHasher hasher;
  EXPECT_THAT(hasher.VerifyPlain("correct horse", "correct horse"), IsOkAndHolds(true));
  for (const char* wrong : {"correct horsE", "correct hors", "correct horse ", ""}) {
    EXPECT_THAT(hasher.VerifyPlain(wrong, "correct horse"), IsOkAndHolds(false));
  }
}

}  // namespace
}  // namespace parley::chat
