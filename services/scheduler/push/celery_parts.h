// What a thread needs to hand a queue's tasks to Celery and to look after them.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "db/model/queue_target.h"
#include "db/model/task.h"
#include "db/repository/push_repository.h"
#include "services/celery/broker.h"
#include "services/celery/broker_url.h"
#include "services/celery/handoff_ledger.h"
#include "services/celery/result_backend.h"

namespace parley::scheduler {

// A queue that is pushed to Celery, or was.
struct CeleryQueue {
  std::string queue;   // ours
  std::string target;  // its name
  CeleryDelivery delivery;
  celery::BrokerUrl broker;
  std::optional<celery::BrokerUrl> results;  // there if the delivery tracks results

  bool is_redis() const { return broker.kind == celery::BrokerUrl::Kind::kRedis; }
  bool tracks() const { return delivery.mode == CeleryDelivery::Mode::kTrackResult; }
  // Whether hand-offs are written down, so that it can be found out later what has happened: on
  // Redis as part of the hand-off; with RabbitMQ if there is a result backend to do it.
  bool has_ledger() const { return is_redis() || tracks(); }
};

// Connections of one thread.
struct CeleryParts {
  std::unique_ptr<celery::Broker> broker;
  std::optional<celery::HandoffLedger> ledger;   // if the queue has one
  std::optional<celery::ResultBackend> results;  // if results are tracked
};

CeleryParts MakeCeleryParts(const CeleryQueue& queue);

// Where the queue's hand-offs go. Another broker, another result backend or another mode is another
// place: there is another ledger, or what it says means something else. How one logs in there, the
// broker's queue and the time for a result make no difference.
db::HandoffPlace PlaceOf(const CeleryQueue& queue);

// How long the lease of a task lasts that is handed over: as long as there is something to wait
// for, and some more.
absl::Duration CeleryLease(const CeleryQueue& queue);
// Of a lease that tracks a result: when so much is left, the time for the result is over.
inline constexpr absl::Duration kResultGrace = absl::Seconds(30);

// What names a hand-off in the ledger. A claim has a token of its own, so an attempt that was given
// back is not taken for the next one with the same number.
std::string HandoffKey(const LeaseKey& lease);

}  // namespace parley::scheduler
