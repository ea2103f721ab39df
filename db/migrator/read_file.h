// The text of a file.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"

namespace parley::db {

// NOT_FOUND if it is not there, is no file, or cannot be read.
absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path);

}  // namespace parley::db
