#include "bench/report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace parley::bench {
namespace {

double Millis(absl::Duration time) { return absl::ToDoubleMilliseconds(time); }

}  // namespace

void Report::Finish() { std::sort(calls.begin(), calls.end()); }

double Report::Rate() const {
  return static_cast<double>(calls.size()) / absl::ToDoubleSeconds(seconds);
}

absl::Duration Report::Percentile(double part) const {
  if (calls.empty()) return absl::ZeroDuration();
  const double rank = std::ceil(part * static_cast<double>(calls.size()));
  const auto index = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
  return calls[std::min(index, calls.size() - 1)];
}

absl::Duration Report::Mean() const {
  if (calls.empty()) return absl::ZeroDuration();
  absl::Duration sum;
  for (const absl::Duration call : calls) sum += call;
  return sum / static_cast<std::int64_t>(calls.size());
}

bool Report::Ok() const { return errors.empty() && !calls.empty(); }

std::string Report::ToText() const {
  std::string text = absl::StrFormat(
      "%s, %d in flight: %d calls in %.1f s, %.0f a second\n"
      "p50 %.3f ms, p90 %.3f ms, p99 %.3f ms, max %.3f ms\n",
      scenario, in_flight, calls.size(), absl::ToDoubleSeconds(seconds), Rate(),
      Millis(Percentile(0.5)), Millis(Percentile(0.9)), Millis(Percentile(0.99)),
      Millis(Percentile(1)));
  if (not_made > 0) absl::StrAppend(&text, "due, but not made: ", not_made, "\n");
  for (const auto& [code, count] : errors)
    absl::StrAppend(&text, "errors ", code, ": ", count, "\n");
  return text;
}

std::string Report::ToJson() const {
  nlohmann::json json = {{"scenario", scenario},
                         {"in_flight", in_flight},
                         {"asked_rate", asked_rate},
                         {"seconds", absl::ToDoubleSeconds(seconds)},
                         {"calls", calls.size()},
                         {"rate", Rate()},
                         {"mean_ms", Millis(Mean())},
                         {"p50_ms", Millis(Percentile(0.5))},
                         {"p90_ms", Millis(Percentile(0.9))},
                         {"p99_ms", Millis(Percentile(0.99))},
                         {"max_ms", Millis(Percentile(1))},
                         {"not_made", not_made},
                         {"errors", errors},
                         {"ok", Ok()}};
  return json.dump() + "\n";
}

}  // namespace parley::bench
