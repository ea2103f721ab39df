// What libpq has understood comes through the URI that libpq and SOCI are given; nothing else is
// repeated.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "db/core/dsn.h"
#include "tests/fuzz/expect.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto dsn = parley::db::Dsn::Parse(text);
  if (!dsn.ok()) {
    ExpectOneOfFewMessages(dsn.status().message());
    return 0;
  }
  const auto again = parley::db::Dsn::Parse(dsn->Uri());
  PARLEY_FUZZ_EXPECT(again.ok());
  PARLEY_FUZZ_EXPECT(again->Uri() == dsn->Uri());
  for (const absl::string_view key : {"host", "user", "password", "dbname", "options"}) {
    PARLEY_FUZZ_EXPECT(again->Find(key) == dsn->Find(key));
  }
  PARLEY_FUZZ_EXPECT(dsn->Without("password").Redacted() == dsn->Redacted());
  return 0;
}
