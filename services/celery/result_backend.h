// What Celery's workers write down about what they did, on Redis.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "services/celery/redis_connection.h"

namespace parley::celery {

// How a task has ended.
struct CeleryResult {
  enum class Kind {
    kSucceeded,
    kFailed,
    kExpired,     // its `expires` had come before a worker began
    kRevoked,     // somebody has told the workers not to run it
    kUnreadable,  // something that is not the result of a task in JSON
  };
  Kind kind = Kind::kUnreadable;
  std::string result;  // of one that succeeded: what it returned, in JSON
  std::string error;   // of one that did not: the exception's type and text

  bool operator==(const CeleryResult&) const = default;
};

// Reads a worker's record (`celery-task-meta-...`); nullopt while the task has not ended: RETRY,
// STARTED, and whatever states it gives itself. Pure.
std::optional<CeleryResult> ParseResult(absl::string_view record);

// Belongs to one thread at a time. Returns UNAVAILABLE if Redis does not do what it is told.
class ResultBackend {
 public:
  explicit ResultBackend(std::shared_ptr<RedisConnection> redis) : redis_(std::move(redis)) {}

  // OK: Redis answers.
  absl::Status Check() { return redis_->Ping(); }

  // For each task, what became of it; nullopt: it has not ended, as far as is known.
  absl::StatusOr<std::vector<std::optional<CeleryResult>>> Read(
      const std::vector<std::string>& ids);

  // Removes what is there of earlier attempts, which have the same id.
  absl::Status Forget(const std::vector<std::string>& ids);

 private:
  const std::shared_ptr<RedisConnection> redis_;
};

}  // namespace parley::celery
