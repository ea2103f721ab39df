// JSON objects that pass through without being understood.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace parley::celery {

// The members of the JSON object `text` by name, each again as JSON without needless spaces.
// nullopt if it is no object, or not JSON in UTF-8, or names a member twice.
//
// Numbers stay as they are written: what Python sends and what it gets may have more digits than a
// double, or an integer of C++, can hold. Any thread may call it.
std::optional<std::map<std::string, std::string>> SplitJsonObject(absl::string_view text);

// What the JSON text says if it is a string; nullopt if it is something else.
std::optional<std::string> JsonString(absl::string_view text);

// `text` as a JSON string, quotes included. What is not UTF-8 is replaced.
std::string QuoteJson(absl::string_view text);

}  // namespace parley::celery
