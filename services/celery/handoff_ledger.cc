#include "services/celery/handoff_ledger.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace parley::celery {
namespace {

std::string Seconds(absl::Duration duration) {
  return absl::StrCat(absl::ToInt64Seconds(duration));
}

absl::StatusOr<std::vector<RedisReply>> RunAll(
    RedisConnection& redis, const std::vector<RedisConnection::Command>& commands) {
  PARLEY_ASSIGN_OR_RETURN(std::vector<RedisReply> replies, redis.Run(commands));
  for (const RedisReply& reply : replies) {
    if (reply.is_error) return absl::UnavailableError(absl::StrCat("Redis: ", *reply.text));
  }
  return replies;
}

}  // namespace

absl::StatusOr<std::vector<bool>> HandoffLedger::Enter(const std::vector<std::string>& keys) {
  std::vector<RedisConnection::Command> commands;
  commands.reserve(keys.size());
  for (const std::string& key : keys) {
    commands.push_back({"SET", key, "sent", "NX", "EX", Seconds(kKeepHandoff)});
  }
  PARLEY_ASSIGN_OR_RETURN(const std::vector<RedisReply> replies, RunAll(*redis_, commands));
  std::vector<bool> entered;
  entered.reserve(replies.size());
  for (const RedisReply& reply : replies) entered.push_back(reply.text.has_value());
  return entered;
}

absl::StatusOr<std::vector<bool>> HandoffLedger::Withdraw(const std::vector<std::string>& keys) {
  std::vector<RedisConnection::Command> commands;
  for (const std::string& key : keys) {
    commands.push_back({"SET", key, "withdrawn", "NX", "EX", Seconds(kKeepHandoff)});
    commands.push_back({"GET", key});
  }
  PARLEY_ASSIGN_OR_RETURN(const std::vector<RedisReply> replies, RunAll(*redis_, commands));
  std::vector<bool> sent;
  for (std::size_t i = 1; i < replies.size(); i += 2) {
    // A key that has vanished meanwhile was settled: what it named has been sent.
    sent.push_back(replies[i].text != "withdrawn");
  }
  return sent;
}

absl::Status HandoffLedger::Settle(const std::vector<std::string>& keys, absl::Duration keep) {
  std::vector<RedisConnection::Command> commands;
  commands.reserve(keys.size());
  for (const std::string& key : keys) commands.push_back({"EXPIRE", key, Seconds(keep)});
  return RunAll(*redis_, commands).status();
}

}  // namespace parley::celery
