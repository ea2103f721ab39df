#include <gtest/gtest.h>

#include <string>

#include "base/login.h"
#include "tests/support/status_matchers.h"

namespace parley {
namespace {

using parley::testing::Violates;

TEST(CheckLogin, ReturnsTheFormInWhichLoginsAreCompared) {
  Violations violations;
  EXPECT_EQ(CheckLogin("login", "ANN", violations), "ann");
  EXPECT_TRUE(violations.empty());
}

TEST(CheckLogin, RefusesLoginsThatVanishOrExplodeWhenFolded) {
  Violations invisible;
  CheckLogin("login", "\xe2\x80\x8b\xc2\xad", invisible);  // zero-width space, soft hyphen
  EXPECT_THAT(invisible.ToStatus(), Violates("login"));
  std::string ligatures;
  for (int i = 0; i < 256; ++i) ligatures += "\xef\xb7\xba";  // one character, folds to 18
  Violations exploding;
  CheckLogin("login", ligatures, exploding);
  EXPECT_THAT(exploding.ToStatus(), Violates("login"));
}

TEST(CheckNewLogin, LeavesTheNamesOfErasedUsersAlone) {
  Violations violations;
  EXPECT_EQ(CheckLogin("login", "Erased-7", violations), "erased-7");
  EXPECT_TRUE(violations.empty());
  CheckNewLogin("login", "Erased-7", violations);
  EXPECT_THAT(violations.ToStatus(), Violates("login"));
}

}  // namespace
}  // namespace parley
