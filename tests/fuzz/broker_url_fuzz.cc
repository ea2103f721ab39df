// A broker's URL has a password in it: what is wrong with it is said in words that are always the
// same.

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "services/celery/broker_url.h"
#include "tests/fuzz/expect.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto url = parley::celery::ParseBrokerUrl(text);
  if (!url.ok()) {
    ExpectOneOfFewMessages(url.status().message());
    return 0;
  }
  PARLEY_FUZZ_EXPECT(!url->host.empty());
  PARLEY_FUZZ_EXPECT(url->port > 0 && url->port <= 65535);
  PARLEY_FUZZ_EXPECT(url->database >= 0);
  PARLEY_FUZZ_EXPECT(!url->vhost.empty());
  return 0;
}
