// How the tokens of leases begin under which tasks are pushed.
#pragma once

#include <initializer_list>
#include <string>

#include "absl/strings/string_view.h"

namespace parley::scheduler {

// kPushTokenPrefix, and 32 bits of a digest of the parts that say where hand-offs go and by which
// rules. Whoever finds a task under a lease sees by its token whether the hand-off is any of his
// business, also after the queue was given another target. All servers must come to the same
// prefix, now and later, or they leave each other's hand-offs to the ends of their leases. Any
// thread may call it.
std::string PushTokenPrefix(std::initializer_list<absl::string_view> place);

}  // namespace parley::scheduler
