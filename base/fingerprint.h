// A short digest that tells whether two requests say the same.
#pragma once

#include <initializer_list>
#include <string>

#include "absl/strings/string_view.h"

namespace parley {

// BLAKE2b-128 over the length-prefixed parts, as 32 hex characters. Parts that differ in number,
// order or content differ in digest. Persisted with request ids and inside page tokens: the
// algorithm may not change.
std::string Fingerprint(std::initializer_list<absl::string_view> parts);

}  // namespace parley
