#include "services/chat/password_hasher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace parley::chat {
namespace {

using ::testing::StartsWith;

TEST(PasswordHasher, VerifiesTheRightPasswordOnly) {
  const PasswordHasher hasher;
  const std::string hash = hasher.Hash("correct horse").value();
  EXPECT_THAT(hash, StartsWith("$argon2id$"));
  EXPECT_TRUE(hasher.Verify("correct horse", hash));
  EXPECT_FALSE(hasher.Verify("correct horsE", hash));
  EXPECT_FALSE(hasher.Verify("", hash));
  EXPECT_FALSE(hasher.Verify("correct horse", "not a hash"));
}

TEST(PasswordHasher, SaltsEveryHash) {
  const PasswordHasher hasher;
  EXPECT_NE(hasher.Hash("x").value(), hasher.Hash("x").value());
}

TEST(PasswordHasher, NeverVerifiesNobody) {
  EXPECT_FALSE(PasswordHasher().VerifyNobody("a password that nobody has"));
}

}  // namespace
}  // namespace parley::chat
