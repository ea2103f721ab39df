// What a fuzz target makes sure of.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>

#include "absl/strings/string_view.h"

// Ends the process, as libFuzzer wants it, if what must always be so is not.
#define PARLEY_FUZZ_EXPECT(condition)                                              \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                \
    }                                                                              \
  } while (false)

// That the errors of what holds secrets repeat nothing of it: there would be ever more of them.
inline void ExpectOneOfFewMessages(absl::string_view message) {
  static auto& messages = *new std::set<std::string>();
  constexpr std::size_t kFew = 20;
  messages.emplace(message);
  PARLEY_FUZZ_EXPECT(messages.size() <= kFew);
}
