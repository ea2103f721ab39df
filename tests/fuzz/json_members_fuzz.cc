// The members of an object, put together again, are that object, however often.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "services/celery/json_members.h"
#include "tests/fuzz/expect.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using parley::celery::JsonString;
  using parley::celery::QuoteJson;
  using parley::celery::SplitJsonObject;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  JsonString(text);
  // Whatever it is, in quotes it is a string, and of what is UTF-8 nothing is lost.
  const std::string quoted = QuoteJson(text);
  PARLEY_FUZZ_EXPECT(JsonString(quoted).has_value());
  PARLEY_FUZZ_EXPECT(QuoteJson(*JsonString(quoted)) == quoted);
  const auto members = SplitJsonObject(text);
  if (!members.has_value()) return 0;
  std::string object = "{";
  for (const auto& [name, value] : *members) {
    absl::StrAppend(&object, object.size() == 1 ? "" : ",", QuoteJson(name), ":", value);
  }
  PARLEY_FUZZ_EXPECT(SplitJsonObject(absl::StrCat(object, "}")) == members);
  return 0;
}
