// Pushes the tasks of a queue to Celery.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "services/scheduler/push/attempt_settler.h"
#include "services/scheduler/push/celery_parts.h"
#include "services/scheduler/push/handoff_keeper.h"
#include "services/scheduler/push/lease_inbox.h"
#include "services/scheduler/push/outage.h"
#include "services/scheduler/push/pusher.h"

namespace parley::scheduler {

// One thread claims, hands over and writes down. An attempt is handed over at most once: what is in
// doubt, because the broker's answer was lost, is not sent again under the same lease; the
// HandoffKeeper finds out from the ledger what has happened, and where there is no ledger the
// attempt has failed.
class CeleryPusher final : public Pusher {
 public:
  // Starts the thread. `parts` must outlive the pusher. The keeper is there if there is a ledger,
  // and is that of the place.
  CeleryPusher(const PushParts& parts, CeleryQueue queue, std::shared_ptr<HandoffKeeper> keeper);
  ~CeleryPusher() override;

  void Stop(absl::Time finish_by) override;
  bool HasFinished() override { return true; }  // nothing takes longer than some seconds

 private:
  void Run();
  absl::Status Check();
  // Tasks on their way, and what becomes of them.
  struct Batch {
    std::vector<celery::Handoff> handoffs;
    std::vector<db::PushedTask> tasks;  // of the hand-offs
    std::vector<AttemptEnd> ends;       // attempts that end without having succeeded
  };
  // What is wrong with the target, if something is.
  absl::Status Push(const LeasedTasks& leased);
  Batch Prepare(const LeasedTasks& leased) const;
  absl::Status Conclude(Batch batch, const std::vector<celery::HandoffOutcome>& outcomes);
  void Release(const LeasedTasks& leased);

  const PushParts parts_;
  const CeleryQueue queue_;
  StopSignal stop_;
  AttemptSettler settler_;
  LeaseInbox inbox_;
  const std::shared_ptr<HandoffKeeper> keeper_;
  // The thread's own.
  CeleryParts celery_;
  Outage outage_;
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace parley::scheduler
