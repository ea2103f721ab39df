#include "services/scheduler/push/celery_parts.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "services/celery/rabbit_broker.h"
#include "services/celery/redis_broker.h"
#include "services/scheduler/push/push_token.h"

namespace parley::scheduler {
namespace {

// To find out from the ledger what has happened takes seconds, or as long as Redis is away.
constexpr absl::Duration kLedgerLease = absl::Hours(1);
// Without a ledger a hand-off that was interrupted is one that failed.
constexpr absl::Duration kBareLease = absl::Minutes(1);

// A server, without what lets one in.
std::string AddressOf(const celery::BrokerUrl& url) {
  const bool is_redis = url.kind == celery::BrokerUrl::Kind::kRedis;
  return absl::StrCat(is_redis ? "redis" : "amqp", "://", url.host, ":", url.port, "/",
                      is_redis ? absl::StrCat(url.database) : url.vhost);
}

}  // namespace

CeleryParts MakeCeleryParts(const CeleryQueue& queue) {
  CeleryParts parts;
  std::shared_ptr<celery::RedisConnection> broker_redis, result_redis;
  if (queue.is_redis()) broker_redis = std::make_shared<celery::RedisConnection>(queue.broker);
  if (queue.tracks()) {
    result_redis = queue.results == queue.broker
                       ? broker_redis
                       : std::make_shared<celery::RedisConnection>(*queue.results);
    parts.results.emplace(result_redis);
  }
  if (queue.is_redis()) {
    parts.broker = std::make_unique<celery::RedisBroker>(broker_redis);
    parts.ledger.emplace(broker_redis);
    return parts;
  }
  if (queue.tracks()) parts.ledger.emplace(result_redis);
  parts.broker = std::make_unique<celery::RabbitBroker>(queue.broker, parts.ledger);
  return parts;
}

db::HandoffPlace PlaceOf(const CeleryQueue& queue) {
  return {queue.queue,
          PushTokenPrefix({AddressOf(queue.broker), queue.tracks() ? "track" : "forget",
                           queue.tracks() ? AddressOf(*queue.results) : std::string()})};
}

absl::Duration CeleryLease(const CeleryQueue& queue) {
  if (queue.tracks()) return queue.delivery.result_timeout + kResultGrace;
  return queue.has_ledger() ? kLedgerLease : kBareLease;
}

std::string HandoffKey(const LeaseKey& lease) {
  return absl::StrCat("parley:sent:", lease.task_id, ":", lease.token);
}

}  // namespace parley::scheduler
