// Lease tokens.
#pragma once

#include <string>

namespace parley::scheduler {

// 128 random bits as 32 lower-case hex digits. Not an attempt number and not from a sequence: both
// may repeat after a crash, and a token must never fit another lease. Any thread may call it.
std::string NewLeaseToken();

}  // namespace parley::scheduler
