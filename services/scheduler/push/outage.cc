#include "services/scheduler/push/outage.h"

#include <algorithm>

#include "services/runtime/log.h"

namespace parley::scheduler {
namespace {

constexpr absl::Duration kFirstOutagePause = absl::Milliseconds(100);
constexpr absl::Duration kLongestOutagePause = absl::Seconds(10);

}  // namespace

absl::Duration Outage::Note(const absl::Status& status) {
  if (!is_on()) {
    runtime::Log(
        runtime::LogLevel::kWarn, "pushing waits for its target",
        {{"queue", queue_}, {"target", target_}, {"error", std::string(status.message())}});
  }
  pause_ = std::clamp(pause_ * 2, kFirstOutagePause, kLongestOutagePause);
  return pause_ * absl::Uniform(random_, 0.8, 1.0);
}

void Outage::End() {
  if (!is_on()) return;
  pause_ = absl::ZeroDuration();
  runtime::Log(runtime::LogLevel::kInfo, "pushing goes on",
               {{"queue", queue_}, {"target", target_}});
}

}  // namespace parley::scheduler
