#include "db/migrator/sum_file.h"

#include <cstddef>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/fingerprint.h"
#include "db/migrator/problem.h"

namespace parley::db {
namespace {

std::vector<std::string> LinesOf(const MigrationSet& set) {
  std::vector<std::string> lines;
  std::string hash;
  for (const Migration& migration : set.migrations()) {
    hash = Fingerprint({hash, migration.file_name, migration.checksum});
    lines.push_back(absl::StrCat(migration.file_name, " ", hash));
  }
  return lines;
}

}  // namespace

std::string SumOf(const MigrationSet& set) {
  std::string text;
  for (const std::string& line : LinesOf(set)) absl::StrAppend(&text, line, "\n");
  return text;
}

absl::Status CheckSum(const MigrationSet& set, absl::string_view sum) {
  const std::string unix_text = absl::StrReplaceAll(sum, {{"\r\n", "\n"}});
  const std::vector<absl::string_view> found =
      absl::StrSplit(absl::StripSuffix(unix_text, "\n"), '\n');
  const std::vector<std::string> expected = LinesOf(set);
  for (std::size_t i = 0; i < std::max(found.size(), expected.size()); ++i) {
    if (i < found.size() && i < expected.size() && found[i] == expected[i]) continue;
    const absl::string_view file = i < expected.size() ? set.migrations()[i].file_name
                                                       : found[i].substr(0, found[i].find(' '));
    return ProblemError(
        Problem::kMismatch,
        absl::StrCat(file, " is not what ", kSumFileName,
                     " says: it was changed, added or removed, ",
                     "or one before it was. A file that was released must stay as it is. If the "
                     "change is meant, `parley-migrate sum` writes ",
                     kSumFileName, " anew."));
  }
  return absl::OkStatus();
}

}  // namespace parley::db
