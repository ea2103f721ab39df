// A file that is taken has sections that end their lines, and a checksum that editors and git do
// not change.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "db/migrator/migration_file.h"
#include "tests/fuzz/expect.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::string name = "20260101000000_fuzz.sql";
  const auto parse = [&](const std::string& content) {
    return parley::db::ParseMigration({.file_name = name, .text = content});
  };
  const auto migration = parse(text);
  if (!migration.ok()) {
    PARLEY_FUZZ_EXPECT(absl::StartsWith(migration.status().message(), name));
    return 0;
  }
  for (const parley::db::Section* section : {&migration->up, &migration->down}) {
    PARLEY_FUZZ_EXPECT(section->sql.empty() || section->sql.back() == '\n');
    PARLEY_FUZZ_EXPECT(section->line > 0);
  }
  const auto with_ends = parse(absl::StrCat(text, "\n\n"));
  PARLEY_FUZZ_EXPECT(with_ends.ok() && with_ends->checksum == migration->checksum);
  const auto of_windows = parse(absl::StrReplaceAll(text, {{"\n", "\r\n"}}));
  PARLEY_FUZZ_EXPECT(of_windows.ok() && of_windows->checksum == migration->checksum);
  return 0;
}
