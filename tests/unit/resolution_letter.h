// How the programs that are compared with Python's zoneinfo write down a resolution.
#pragma once

#include "base/local_time.h"

namespace parley {

// Its first letter. Any thread may call it.
inline char LetterOf(LocalTimeResolution resolution) {
  switch (resolution) {
    case LocalTimeResolution::kUnique:
      return 'u';
    case LocalTimeResolution::kShifted:
      return 's';
    case LocalTimeResolution::kAmbiguous:
      return 'a';
  }
  return '?';
}

}  // namespace parley
