// An expression that is taken recurs: later than it is asked for, and as often as it counts.

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/cron.h"
#include "tests/fuzz/expect.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const absl::TimeZone zone = [] {
    absl::TimeZone berlin;
    PARLEY_FUZZ_EXPECT(absl::LoadTimeZone("Europe/Berlin", &berlin));
    return berlin;
  }();
  // The first bytes say when it is asked: in the years 1970 to 2106.
  std::uint32_t begin = 0;
  for (int i = 0; i < 4 && size > 0; ++i, ++data, --size) begin = begin << 8 | *data;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto cron = parley::CronExpression::Parse(text);
  if (!cron.ok()) return 0;
  const absl::Time start = absl::FromUnixSeconds(begin);
  absl::Time last = start;
  int found = 0;
  for (; found < 3; ++found) {
    const std::optional<parley::Occurrence> next = cron->Next(last, zone);
    if (!next.has_value()) break;
    PARLEY_FUZZ_EXPECT(next->time > last);
    PARLEY_FUZZ_EXPECT(absl::FromUnixSeconds(absl::ToUnixSeconds(next->time)) == next->time);
    last = next->time;
  }
  PARLEY_FUZZ_EXPECT(cron->Count(start, last, zone) == found);
  return 0;
}
