#include <gtest/gtest.h>

#include "base/fingerprint.h"

namespace parley {
namespace {

TEST(Fingerprint, OfTheSamePartsIsTheSame) {
  EXPECT_EQ(Fingerprint({"a", "bc"}), Fingerprint({"a", "bc"}));
  EXPECT_EQ(Fingerprint({"a"}).size(), 32u);
}

TEST(Fingerprint, TellsWhereOnePartEndsAndTheNextBegins) {
  EXPECT_NE(Fingerprint({"ab", "c"}), Fingerprint({"a", "bc"}));
  EXPECT_NE(Fingerprint({"a", ""}), Fingerprint({"a"}));
  EXPECT_NE(Fingerprint({"a", "b"}), Fingerprint({"b", "a"}));
}

TEST(Fingerprint, NeverChangesBecauseItIsStored) {
  EXPECT_EQ(Fingerprint({"hello"}), "75abcde22a0c83a399870449cf0a47dc");
}

}  // namespace
}  // namespace parley
