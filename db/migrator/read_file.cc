#include "db/migrator/read_file.h"

#include <fstream>
#include <sstream>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace parley::db {

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return absl::NotFoundError(absl::StrCat(path.string(), " is not a file that can be read"));
  }
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  // Of an empty file nothing is read, which the stream takes for a failure.
  if (stream && stream.peek() != std::ifstream::traits_type::eof()) text << stream.rdbuf();
  if (stream.bad() || (stream.fail() && !stream.eof())) {
    return absl::NotFoundError(absl::StrCat(path.string(), " cannot be read"));
  }
  return text.str();
}

}  // namespace parley::db
