#include "services/celery/redis_broker.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/random_token.h"
#include "base/status_macros.h"
#include "services/celery/handoff_ledger.h"

namespace parley::celery {
namespace {

// KEYS: the queue's list, the hand-off's key. ARGV: the message, how long the key is kept. The key
// comes last, because a script that fails half-way keeps what it has done.
constexpr char kPushOnce[] =
    "local state = redis.call('GET', KEYS[2]) "
    "if state then return state end "
    "redis.call('LPUSH', KEYS[1], ARGV[1]) "
    "redis.call('SET', KEYS[2], 'sent', 'EX', ARGV[2]) "
    "return 'sent'";

std::string NewDeliveryTag() {
  const std::string hex = NewRandomToken();
  return absl::StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-", hex.substr(12, 4), "-",
                      hex.substr(16, 4), "-", hex.substr(20));
}

HandoffOutcome OutcomeOf(const RedisReply& reply) {
  if (reply.is_error)
    return {HandoffOutcome::Kind::kNotTaken, absl::StrCat("Redis: ", *reply.text)};
  return {reply.text == "sent" ? HandoffOutcome::Kind::kAccepted : HandoffOutcome::Kind::kWithdrawn,
          ""};
}

}  // namespace

std::vector<HandoffOutcome> RedisBroker::Push(const std::vector<Handoff>& handoffs) {
  std::vector<RedisConnection::Command> commands;
  for (const Handoff& handoff : handoffs) {
    const CeleryMessage& message = handoff.message;
    commands.push_back({"EVAL", kPushOnce, "2", RedisList(message.queue, message.priority),
                        handoff.key, RedisEnvelope(message, NewDeliveryTag()),
                        absl::StrCat(absl::ToInt64Seconds(kKeepHandoff))});
  }
  // A connection that was idle may be gone without a word: that alone is no reason to doubt.
  auto replies = redis_->Run(commands);
  bool sent = redis_->has_sent();
  if (!replies.ok()) {
    replies = redis_->Run(commands);
    sent = sent || redis_->has_sent();
  }
  std::vector<HandoffOutcome> outcomes;
  outcomes.reserve(handoffs.size());
  for (std::size_t i = 0; i < handoffs.size(); ++i) {
    if (replies.ok()) {
      outcomes.push_back(OutcomeOf((*replies)[i]));
    } else {
      outcomes.push_back({sent ? HandoffOutcome::Kind::kInDoubt : HandoffOutcome::Kind::kNotTaken,
                          std::string(replies.status().message())});
    }
  }
  return outcomes;
}

absl::Status RedisBroker::Revoke(const std::string& id) {
  // Fanout exchanges of kombu's are channels, which have the number of the database in their names.
  return redis_
      ->Run({{"PUBLISH", absl::StrCat("/", redis_->database(), ".celery.pidbox"),
              RedisRevokeEnvelope(id, NewDeliveryTag())}})
      .status();
}

}  // namespace parley::celery
