#include "services/scheduler/reaper.h"

#include <set>
#include <string>
#include <vector>

#include "absl/random/random.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "services/runtime/log.h"

namespace parley::scheduler {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(1);
constexpr absl::Duration kPatience = absl::Seconds(5);
constexpr std::int32_t kBatch = 500;

}  // namespace

Reaper::Reaper(db::TaskRepository& tasks, Dispatcher& dispatcher)
    : tasks_(tasks), dispatcher_(dispatcher), thread_([this] { Run(); }) {}

Reaper::~Reaper() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyOne();
  thread_.join();
}

void Reaper::Run() {
  absl::BitGen random;
  while (true) {
    RescueAll();
    // Not all processes at once.
    const absl::Time next = absl::Now() + kInterval * absl::Uniform(random, 0.8, 1.0);
    MutexLock lock(mutex_);
    while (!stopping_ && absl::Now() < next) wake_.WaitUntil(mutex_, next);
    if (stopping_) return;
  }
}

void Reaper::RescueAll() {
  while (true) {
    const auto rescued = tasks_.RescueExpired(kBatch, absl::Now() + kPatience);
    if (!rescued.ok() && !failing_) {
      runtime::Log(runtime::LogLevel::kWarn, "leases that have run out cannot be looked for",
                   {{"error", std::string(rescued.status().message())}});
    }
    failing_ = !rescued.ok();
    if (!rescued.ok()) return;
    std::set<std::string> queues;
    for (const db::TaskRepository::Rescued& task : *rescued) {
      if (task.state == TaskState::kPending) queues.insert(task.queue);
    }
    for (const std::string& queue : queues) dispatcher_.TaskReady(queue, absl::ZeroDuration());
    if (rescued->size() < static_cast<std::size_t>(kBatch)) return;
  }
}

}  // namespace parley::scheduler
