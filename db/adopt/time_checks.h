// What an adoption asks of the original's times, which have no zone of their own.
#pragma once

#include <vector>

#include "db/adopt/row_checks.h"

namespace parley::adopt {

std::vector<RowCheck> TimeChecks();

}  // namespace parley::adopt
