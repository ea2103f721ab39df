// What a login may look like, and the form in which logins are compared.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "base/error.h"

namespace parley {

// 1..256 code points. Returns the form in which logins are compared, FoldLogin's (empty if there is
// none); adds what is wrong to `violations`.
std::string CheckLogin(absl::string_view field, absl::string_view login, Violations& violations);

// CheckLogin, and not one that only erased users have.
std::string CheckNewLogin(absl::string_view field, absl::string_view login, Violations& violations);

}  // namespace parley
