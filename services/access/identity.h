// Who calls, as a token or a certificate says it.
#pragma once

#include "services/access/scope.h"
#include "services/runtime/gate.h"

namespace parley::access {

struct Identity : runtime::Caller {
  ScopeSet scopes;
};

}  // namespace parley::access
