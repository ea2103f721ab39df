#include "services/celery/redis_connection.h"

#include <sys/time.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"

namespace parley::celery {
namespace {

constexpr absl::Duration kConnectPatience = absl::Seconds(3);
constexpr absl::Duration kAnswerPatience = absl::Seconds(10);

absl::Status Lost(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat("Redis: ", what));
}

std::optional<std::string> TextOf(const redisReply& reply) {
  switch (reply.type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
      return std::string(reply.str, static_cast<std::size_t>(reply.len));
    default:
      return std::nullopt;
  }
}

RedisReply ToReply(const redisReply& reply) {
  RedisReply answer = {.is_error = reply.type == REDIS_REPLY_ERROR,
                       .text = TextOf(reply),
                       .integer = reply.type == REDIS_REPLY_INTEGER ? reply.integer : 0};
  for (std::size_t i = 0; reply.type == REDIS_REPLY_ARRAY && i < reply.elements; ++i) {
    answer.items.push_back(TextOf(*reply.element[i]));
  }
  return answer;
}

}  // namespace

absl::StatusOr<std::vector<RedisReply>> RedisConnection::Run(const std::vector<Command>& commands) {
  has_sent_ = false;
  if (context_ == nullptr) PARLEY_RETURN_IF_ERROR(Connect());
  has_sent_ = true;
  absl::Status sent = Send(commands);
  if (!sent.ok()) {
    context_.reset();
    return sent;
  }
  auto replies = Receive(commands.size());
  if (!replies.ok()) context_.reset();
  return replies;
}

absl::Status RedisConnection::Ping() {
  PARLEY_ASSIGN_OR_RETURN(const std::vector<RedisReply> replies, Run({{"PING"}}));
  return replies.front().is_error ? Lost(*replies.front().text) : absl::OkStatus();
}

absl::Status RedisConnection::Connect() {
  context_.reset(
      redisConnectWithTimeout(url_.host.c_str(), url_.port, absl::ToTimeval(kConnectPatience)));
  if (context_ == nullptr || context_->err != 0) {
    context_.reset();
    return Lost("it cannot be reached");
  }
  redisSetTimeout(context_.get(), absl::ToTimeval(kAnswerPatience));
  redisEnableKeepAlive(context_.get());
  std::vector<Command> greeting;
  if (!url_.user.empty()) {
    greeting.push_back({"AUTH", url_.user, url_.password});
  } else if (!url_.password.empty()) {
    greeting.push_back({"AUTH", url_.password});
  }
  greeting.push_back({"SELECT", absl::StrCat(url_.database)});
  absl::Status status = Send(greeting);
  if (status.ok()) {
    const auto replies = Receive(greeting.size());
    status = replies.status();
    for (std::size_t i = 0; status.ok() && i < greeting.size(); ++i) {
      const RedisReply& reply = (*replies)[i];
      if (reply.is_error) status = Lost(absl::StrCat(greeting[i][0], ": ", *reply.text));
    }
  }
  if (!status.ok()) context_.reset();
  return status;
}

absl::Status RedisConnection::Send(const std::vector<Command>& commands) {
  for (const Command& command : commands) {
    std::vector<const char*> words;
    std::vector<std::size_t> sizes;
    for (const std::string& word : command) {
      words.push_back(word.data());
      sizes.push_back(word.size());
    }
    if (redisAppendCommandArgv(context_.get(), static_cast<int>(words.size()), words.data(),
                               sizes.data()) != REDIS_OK) {
      return Lost("out of memory");
    }
  }
  return absl::OkStatus();  // Receive sends first
}

absl::StatusOr<std::vector<RedisReply>> RedisConnection::Receive(std::size_t count) {
  std::vector<RedisReply> replies;
  replies.reserve(count);
  while (replies.size() < count) {
    void* raw = nullptr;
    if (redisGetReply(context_.get(), &raw) != REDIS_OK || raw == nullptr) {
      return Lost("the connection was lost");
    }
    const std::unique_ptr<redisReply, void (*)(void*)> reply(static_cast<redisReply*>(raw),
                                                             freeReplyObject);
    replies.push_back(ToReply(*reply));
  }
  return replies;
}

}  // namespace parley::celery
