// One thing that an adoption has to do with the original's data, or cannot.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace parley::adopt {

enum class Weight {
  kHandled,  // adoption knows what to do, and does it
  kStops,    // somebody has to decide first
};

struct Finding {
  std::string name;  // stable, for programs: "duplicate-memberships"
  Weight weight = Weight::kHandled;
  std::int64_t count = 0;
  std::string what;               // what there are `count` of, and what becomes of them
  std::vector<std::string> rows;  // the first of those concerned, a line each
  std::string advice;             // for what stops: what to do, with a statement as an example
  bool is_set_aside = false;      // these rows stay behind, and Parley does not have them
};

// For people, several lines, each ended by LF.
std::string ToText(const Finding& finding);

}  // namespace parley::adopt
