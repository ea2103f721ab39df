// RabbitMQ as Celery's broker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "services/celery/broker.h"
#include "services/celery/handoff_ledger.h"
#include "services/celery/rabbit_channel.h"

namespace parley::celery {

// Publishes to the default exchange, durably, and waits until RabbitMQ has confirmed every message.
// A queue must be there: workers declare theirs, and we would have to know how. While RabbitMQ is
// low on memory or disk it takes nothing; it is asked before each Push, so that only what is under
// way in the moment in which it runs low is in doubt.
class RabbitBroker final : public Broker {
 public:
  // With a `ledger`, what is handed over is entered there first: then a hand-off that was entered
  // may have happened, or be lost; one that was not, has not happened.
  RabbitBroker(BrokerUrl url, std::optional<HandoffLedger> ledger);

  absl::Status Check(const std::string& queue) override;
  // kNotTaken too for what RabbitMQ returns or refuses: the queue is gone, or full.
  std::vector<HandoffOutcome> Push(const std::vector<Handoff>& handoffs) override;
  absl::Status Revoke(const std::string& id) override;

 private:
  absl::Status Open(const std::string& queue);
  // Whether RabbitMQ answers on the channel, takes messages and knows the queue.
  absl::Status Ask(const std::string& queue);
  // Drops the channel if `status` says that it is of no use any more.
  absl::Status Judge(absl::Status status);
  // Leaves in `outcomes` what came of those that were to be published.
  void PublishAll(const std::vector<Handoff>& handoffs, std::vector<HandoffOutcome>& outcomes);
  using Published = std::map<std::uint64_t, std::size_t>;  // which hand-offs, by their numbers
  absl::Status AwaitConfirms(const std::vector<Handoff>& handoffs, Published waiting,
                             std::vector<HandoffOutcome>& outcomes);

  const BrokerUrl url_;
  std::optional<HandoffLedger> ledger_;
  std::unique_ptr<RabbitChannel> channel_;  // null: there is none
  absl::Time used_at_ = absl::InfinitePast();
};

}  // namespace parley::celery
