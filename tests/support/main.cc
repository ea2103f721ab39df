// The main function of every test program.
//
// usage: PROGRAM [GTEST-FLAG...] [SOURCE...]   runs the tests of the sources that are named, like
// chat_rules_test.cc; all tests without one. A source without tests is an error, so that none is
// lost by a slip in its name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace parley::testing {
namespace {

// A GoogleTest filter of the tests of a source; "" if it has none.
std::string FilterOf(const std::string& source) {
  std::string filter;
  const ::testing::UnitTest& all = *::testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_suite_count(); ++i) {
    const ::testing::TestSuite& suite = *all.GetTestSuite(i);
    for (int j = 0; j < suite.total_test_count(); ++j) {
      const ::testing::TestInfo& test = *suite.GetTestInfo(j);
      if (absl::EndsWith(test.file(), absl::StrCat("/", source))) {
        absl::StrAppend(&filter, suite.name(), ".", test.name(), ":");
      }
    }
  }
  return filter;
}

}  // namespace
}  // namespace parley::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleMock(&argc, argv);
  std::string filter;
  for (int i = 1; i < argc; ++i) {
    const std::string tests = parley::testing::FilterOf(argv[i]);
    if (tests.empty()) {
      std::fprintf(stderr, "%s: no test in %s\n", argv[0], argv[i]);
      return 2;
    }
    filter += tests;
  }
  if (argc > 1) GTEST_FLAG_SET(filter, filter);
  return RUN_ALL_TESTS();
}
