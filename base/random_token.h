// Tokens that nobody can guess and that never come twice.
#pragma once

#include <string>

namespace parley {

// 128 random bits as 32 lower-case hex digits. For leases: an attempt number, or one from a
// sequence, may repeat after a crash, and a token must never fit another lease. Any thread may call
// it.
std::string NewRandomToken();

}  // namespace parley
