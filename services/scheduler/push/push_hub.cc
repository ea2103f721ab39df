#include "services/scheduler/push/push_hub.h"

#include <utility>
#include <variant>

#include "base/clock.h"
#include "services/runtime/log.h"
#include "services/scheduler/push/celery_pusher.h"
#include "services/scheduler/push/grpc_pusher.h"

namespace parley::scheduler {
namespace {

constexpr absl::Duration kReadInterval = absl::Seconds(1);
constexpr absl::Duration kReadPatience = absl::Seconds(5);
// Other servers learn a little later that a queue has another target, and claim for the old one
// until then.
constexpr absl::Duration kLinger = absl::Seconds(10);

}  // namespace

PushHub::PushHub(const PushParts& parts, PushTargets targets, absl::Duration grace)
    : parts_(parts), targets_(std::move(targets)), grace_(grace), thread_([this] { Run(); }) {}

PushHub::~PushHub() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  thread_.join();
  // All at once, so that they finish side by side.
  const absl::Time finish_by = SteadyNow() + grace_;
  for (const auto& [queue, served] : served_) served.pusher->Stop(finish_by);
  for (const std::unique_ptr<Pusher>& pusher : retired_) pusher->Stop(finish_by);
  for (const auto& [place, keeper] : keepers_) keeper->Stop();
}

void PushHub::Hint() {
  MutexLock lock(mutex_);
  hinted_ = true;
  wake_.NotifyAll();
}

void PushHub::Run() {
  do {
    Compare();
  } while (WaitForNext());
}

bool PushHub::WaitForNext() {
  const absl::Time next = SteadyNow() + kReadInterval;
  MutexLock lock(mutex_);
  while (!stopping_ && !hinted_ && SteadyNow() < next) wake_.WaitUntil(mutex_, next);
  hinted_ = false;
  return !stopping_;
}

void PushHub::Compare() {
  std::erase_if(retired_, [](const std::unique_ptr<Pusher>& old) { return old->HasFinished(); });
  const auto queues = parts_.pushes.ListQueues(SteadyNow() + kReadPatience);
  if (!queues.ok()) return;  // the dispatcher tells of an outage
  std::map<std::string, QueueTarget> wanted;
  for (const db::PushQueue& queue : *queues) wanted[queue.name] = queue.target;
  for (auto next = served_.begin(); next != served_.end();) {
    const auto served = next++;
    const auto found = wanted.find(served->first);
    if (found != wanted.end() && found->second == served->second.target) continue;
    served->second.pusher->Stop(absl::InfiniteFuture());
    retired_.push_back(std::move(served->second.pusher));
    served_.erase(served);
  }
  std::erase_if(refused_, [&](const auto& refused) {
    const auto found = wanted.find(refused.first);
    return found == wanted.end() || !(found->second == refused.second);
  });
  for (const db::PushQueue& queue : *queues) {
    if (served_.contains(queue.name) || refused_.contains(queue.name)) continue;
    if (std::unique_ptr<Pusher> pusher = MakePusher(queue)) {
      served_[queue.name] = {queue.target, std::move(pusher)};
    }
  }
  if (!adopted_) Adopt();
  DropIdleKeepers();
}

void PushHub::Adopt() {
  const auto places = parts_.pushes.ListPlaces(SteadyNow() + kReadPatience);
  if (!places.ok()) return;  // next time
  adopted_ = true;
  for (const db::HandoffPlace& place : *places) {
    for (const auto& [name, endpoint] : targets_) {
      const auto* celery = std::get_if<CeleryEndpoint>(&endpoint);
      if (celery == nullptr) continue;
      for (const auto mode :
           {CeleryDelivery::Mode::kFireAndForget, CeleryDelivery::Mode::kTrackResult}) {
        CeleryDelivery delivery;
        delivery.mode = mode;
        delivery.result_timeout = absl::InfiniteDuration();  // not known any more
        const CeleryQueue queue = {.queue = place.queue,
                                   .target = name,
                                   .delivery = delivery,
                                   .broker = celery->broker,
                                   .results = celery->results};
        if (queue.tracks() && !queue.results.has_value()) continue;
        if (!queue.has_ledger() || PlaceOf(queue) != place || keepers_.contains(place)) continue;
        keepers_[place] = std::make_shared<HandoffKeeper>(parts_, queue);
      }
    }
  }
}

void PushHub::DropIdleKeepers() {
  const absl::Time idle_before = SteadyNow() - kLinger;
  std::erase_if(keepers_, [&](const auto& kept) {
    // Pushers, which this thread makes and ends, have the others.
    return kept.second.use_count() == 1 && kept.second->IdleSince() < idle_before;
  });
}

std::unique_ptr<Pusher> PushHub::MakePusher(const db::PushQueue& queue) {
  const QueueTarget& target = queue.target;
  if (const absl::Status status = CheckDeliverable(targets_, target); !status.ok()) {
    refused_[queue.name] = target;
    runtime::Log(
        runtime::LogLevel::kWarn, "a queue is left to other servers to push",
        {{"queue", queue.name}, {"target", target.name}, {"error", std::string(status.message())}});
    return nullptr;
  }
  const auto& endpoint = targets_.find(target.name)->second;
  if (const auto* delivery = std::get_if<GrpcDelivery>(&target.delivery)) {
    return std::make_unique<GrpcPusher>(
        parts_, HandlerQueue{.queue = queue.name,
                             .target = target.name,
                             .delivery = *delivery,
                             .address = std::get<GrpcEndpoint>(endpoint).address});
  }
  const auto& celery = std::get<CeleryEndpoint>(endpoint);
  return MakeCeleryPusher({.queue = queue.name,
                           .target = target.name,
                           .delivery = std::get<CeleryDelivery>(target.delivery),
                           .broker = celery.broker,
                           .results = celery.results});
}

std::unique_ptr<Pusher> PushHub::MakeCeleryPusher(CeleryQueue queue) {
  std::shared_ptr<HandoffKeeper> keeper;
  if (queue.has_ledger()) {
    // In place of one of the same place, which may know another time for results.
    keeper = std::make_shared<HandoffKeeper>(parts_, queue);
    keepers_[PlaceOf(queue)] = keeper;
  }
  return std::make_unique<CeleryPusher>(parts_, std::move(queue), std::move(keeper));
}

}  // namespace parley::scheduler
