#include "services/scheduler/push/push_rules.h"

#include <utf8proc.h>

#include <cstddef>
#include <variant>

#include "absl/time/time.h"
#include "base/text.h"

namespace parley::scheduler {
namespace {

constexpr std::size_t kMaxErrorPoints = 1024;
constexpr std::size_t kMaxResultBytes = std::size_t{256} << 10;
constexpr std::size_t kMaxNameBytes = 64;
// Of a broker's queue: what AMQP has room for.
constexpr std::size_t kMaxBrokerQueueBytes = 255;
constexpr std::int32_t kMaxCalls = 1000;
constexpr absl::Duration kMinTimeout = absl::Milliseconds(1);
constexpr absl::Duration kMaxTimeout = absl::Hours(1);
constexpr absl::Duration kMinResultTimeout = absl::Seconds(1);
constexpr absl::Duration kMaxResultTimeout = absl::Hours(24 * 7);

void Check(const GrpcDelivery& grpc, Violations& violations) {
  if (grpc.timeout < kMinTimeout || grpc.timeout > kMaxTimeout) {
    violations.Add("queue.target.grpc.timeout", "must be 1 ms to 1 h");
  }
  if (grpc.max_calls < 1 || grpc.max_calls > kMaxCalls) {
    violations.Add("queue.target.grpc.max_calls", "must be 0 to 1000");
  }
}

void Check(const CeleryDelivery& celery, Violations& violations) {
  if (celery.queue.size() > kMaxBrokerQueueBytes) {
    violations.Add("queue.target.celery.queue", "must have at most 255 bytes");
  } else {
    CheckText("queue.target.celery.queue", celery.queue, {.min = 1, .max = kMaxBrokerQueueBytes},
              violations);
  }
  if (celery.result_timeout < kMinResultTimeout || celery.result_timeout > kMaxResultTimeout) {
    violations.Add("queue.target.celery.result_timeout", "must be 1 s to 7 days");
  }
}

}  // namespace

void CheckQueueTarget(const QueueTarget& target, Violations& violations) {
  CheckText("queue.target.name", target.name, {.min = 1, .max = kMaxNameBytes}, violations);
  std::visit([&](const auto& delivery) { Check(delivery, violations); }, target.delivery);
}

bool IsStorableResult(absl::string_view result) { return result.size() <= kMaxResultBytes; }

std::string StorableError(absl::string_view text) {
  std::string stored;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  std::size_t points = 0;
  for (std::size_t at = 0; at < text.size() && points < kMaxErrorPoints; ++points) {
    utf8proc_int32_t point = 0;
    const utf8proc_ssize_t size =
        utf8proc_iterate(bytes + at, static_cast<utf8proc_ssize_t>(text.size() - at), &point);
    const std::size_t taken = size < 1 ? 1 : static_cast<std::size_t>(size);
    if (size < 1 || point == 0) {
      stored += "\xef\xbf\xbd";  // U+FFFD
    } else {
      stored.append(text.data() + at, taken);
    }
    at += taken;
  }
  return stored;
}

}  // namespace parley::scheduler
