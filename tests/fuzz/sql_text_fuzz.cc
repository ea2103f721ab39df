// Statements and tokens lie in the text, in order, and a statement alone is split into itself.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "db/migrator/sql_text.h"
#include "tests/fuzz/expect.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using parley::db::SplitStatements;
  const absl::string_view sql(reinterpret_cast<const char*>(data), size);
  const auto statements = SplitStatements(sql);
  if (!statements.ok()) return 0;
  std::size_t end = 0;
  for (const parley::db::SqlStatement& statement : *statements) {
    PARLEY_FUZZ_EXPECT(!statement.tokens.empty());
    PARLEY_FUZZ_EXPECT(statement.offset == statement.tokens.front().offset);
    for (const parley::db::SqlToken& token : statement.tokens) {
      PARLEY_FUZZ_EXPECT(token.offset >= end && !token.text.empty());
      PARLEY_FUZZ_EXPECT(sql.substr(token.offset, token.text.size()) == token.text);
      end = token.offset + token.text.size();
    }
    PARLEY_FUZZ_EXPECT(statement.offset + statement.text.size() == end);
    const auto alone = SplitStatements(statement.text);
    PARLEY_FUZZ_EXPECT(alone.ok() && alone->size() == 1);
    PARLEY_FUZZ_EXPECT(alone->front().tokens.size() == statement.tokens.size());
  }
  return 0;
}
