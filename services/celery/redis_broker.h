// Redis as Celery's broker.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "services/celery/broker.h"
#include "services/celery/redis_connection.h"

namespace parley::celery {

// A hand-off and the entry of its key in the HandoffLedger on the same Redis are one step, so that
// what is in doubt can be found out there.
class RedisBroker final : public Broker {
 public:
  explicit RedisBroker(std::shared_ptr<RedisConnection> redis) : redis_(std::move(redis)) {}

  absl::Status Check(const std::string& /*queue*/) override { return redis_->Ping(); }
  // Sends all in one go; if the connection is lost meanwhile, once more on another one.
  std::vector<HandoffOutcome> Push(const std::vector<Handoff>& handoffs) override;
  absl::Status Revoke(const std::string& id) override;

 private:
  const std::shared_ptr<RedisConnection> redis_;
};

}  // namespace parley::celery
