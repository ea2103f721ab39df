// A connection to Redis, through hiredis.
#pragma once

#include <hiredis/hiredis.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "services/celery/broker_url.h"

namespace parley::celery {

// What Redis answered to one command.
struct RedisReply {
  bool is_error = false;
  std::optional<std::string> text;  // of an error too; nullopt: nil
  std::int64_t integer = 0;
  std::vector<std::optional<std::string>> items;  // of an array
};

// Connects when it is first used, and again after it was lost. Belongs to one thread at a time. A
// call blocks for at most some seconds: Redis answers at once or is in trouble.
class RedisConnection {
 public:
  using Command = std::vector<std::string>;

  explicit RedisConnection(BrokerUrl url) : url_(std::move(url)) {}

  // Sends the commands in one go; an answer to each, in their order. UNAVAILABLE: there is no
  // connection, or it was lost before all answers were there, and some of the commands may have
  // been executed. An answer that is an error is an answer.
  absl::StatusOr<std::vector<RedisReply>> Run(const std::vector<Command>& commands);

  // OK: it answers.
  absl::Status Ping();

  std::int32_t database() const { return url_.database; }

  // Whether the last Run has sent anything. If it has not, nothing was executed.
  bool has_sent() const { return has_sent_; }

 private:
  struct Closer {
    void operator()(redisContext* context) const { redisFree(context); }
  };

  absl::Status Connect();
  absl::Status Send(const std::vector<Command>& commands);
  absl::StatusOr<std::vector<RedisReply>> Receive(std::size_t count);

  const BrokerUrl url_;
  std::unique_ptr<redisContext, Closer> context_;
  bool has_sent_ = false;
};

}  // namespace parley::celery
