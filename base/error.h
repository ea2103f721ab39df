// Errors that carry a machine-readable reason, without knowing gRPC or protobuf.
//
// An absl::Status travels through every room; what google.rpc.ErrorInfo and google.rpc.BadRequest
// need rides along as payloads, and services/runtime/status_mapping turns them into wire details.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace parley {

// The reasons that ErrorInfo may carry. UPPER_SNAKE, at most 63 characters, never renamed.
namespace reason {
inline constexpr absl::string_view kInvalidArgument = "INVALID_ARGUMENT";
inline constexpr absl::string_view kRequestIdReused = "REQUEST_ID_REUSED";
inline constexpr absl::string_view kEtagMismatch = "ETAG_MISMATCH";
inline constexpr absl::string_view kUserNotFound = "USER_NOT_FOUND";
inline constexpr absl::string_view kLoginTaken = "LOGIN_TAKEN";
inline constexpr absl::string_view kUserHasMessages = "USER_HAS_MESSAGES";
inline constexpr absl::string_view kUserBlocked = "USER_BLOCKED";
inline constexpr absl::string_view kUserErased = "USER_ERASED";
inline constexpr absl::string_view kWrongCredentials = "WRONG_CREDENTIALS";
inline constexpr absl::string_view kChatNotFound = "CHAT_NOT_FOUND";
inline constexpr absl::string_view kNotAMember = "NOT_A_MEMBER";
inline constexpr absl::string_view kLastOwner = "LAST_OWNER";
inline constexpr absl::string_view kMessageNotFound = "MESSAGE_NOT_FOUND";
inline constexpr absl::string_view kMessageExpired = "MESSAGE_EXPIRED";
inline constexpr absl::string_view kMessageDeleted = "MESSAGE_DELETED";
inline constexpr absl::string_view kNotPermitted = "NOT_PERMITTED";
inline constexpr absl::string_view kScheduledMessageNotFound = "SCHEDULED_MESSAGE_NOT_FOUND";
inline constexpr absl::string_view kScheduledMessageEnded = "SCHEDULED_MESSAGE_ENDED";
inline constexpr absl::string_view kAttemptsExhausted = "ATTEMPTS_EXHAUSTED";
inline constexpr absl::string_view kErasureNotFound = "ERASURE_NOT_FOUND";
inline constexpr absl::string_view kWatcherTooSlow = "WATCHER_TOO_SLOW";
inline constexpr absl::string_view kQueueExists = "QUEUE_EXISTS";
inline constexpr absl::string_view kTaskNotFound = "TASK_NOT_FOUND";
inline constexpr absl::string_view kTaskNotPending = "TASK_NOT_PENDING";
inline constexpr absl::string_view kTaskNotDead = "TASK_NOT_DEAD";
inline constexpr absl::string_view kFiringTaken = "FIRING_TAKEN";
inline constexpr absl::string_view kTaskEnded = "TASK_ENDED";
inline constexpr absl::string_view kDedupeKeyTaken = "DEDUPE_KEY_TAKEN";
inline constexpr absl::string_view kScheduleNotFound = "SCHEDULE_NOT_FOUND";
inline constexpr absl::string_view kScheduleNameTaken = "SCHEDULE_NAME_TAKEN";
inline constexpr absl::string_view kLeaseLost = "LEASE_LOST";
inline constexpr absl::string_view kCredentialsMissing = "CREDENTIALS_MISSING";
inline constexpr absl::string_view kInvalidToken = "INVALID_TOKEN";
inline constexpr absl::string_view kUnknownCertificate = "UNKNOWN_CERTIFICATE";
inline constexpr absl::string_view kScopeMissing = "SCOPE_MISSING";
inline constexpr absl::string_view kNotForUsers = "NOT_FOR_USERS";
inline constexpr absl::string_view kTooManyCalls = "TOO_MANY_CALLS";
inline constexpr absl::string_view kTooManyStreams = "TOO_MANY_STREAMS";
inline constexpr absl::string_view kRateLimited = "RATE_LIMITED";
inline constexpr absl::string_view kTooManyWrongPasswords = "TOO_MANY_WRONG_PASSWORDS";
inline constexpr absl::string_view kQueueFull = "QUEUE_FULL";
inline constexpr absl::string_view kDatabaseUnavailable = "DATABASE_UNAVAILABLE";
inline constexpr absl::string_view kCommitInDoubt = "COMMIT_IN_DOUBT";
inline constexpr absl::string_view kDeadlineExceeded = "DEADLINE_EXCEEDED";
inline constexpr absl::string_view kCancelled = "CANCELLED";
inline constexpr absl::string_view kContention = "CONTENTION";
inline constexpr absl::string_view kDraining = "DRAINING";
inline constexpr absl::string_view kStreamTooOld = "STREAM_TOO_OLD";
inline constexpr absl::string_view kInternal = "INTERNAL";
}  // namespace reason

// A status with a reason and, optionally, named values (ids, limits) for ErrorInfo.metadata.
// `message` is shown to callers: no SQL, no message text, no secrets, no host names.
absl::Status Error(absl::StatusCode code, absl::string_view reason, absl::string_view message,
                   std::initializer_list<std::pair<absl::string_view, std::string>> metadata = {});

// An INTERNAL error. `detail` is for the log only; callers get a neutral text.
absl::Status InternalError(absl::string_view detail);

// Says after how long a retry may succeed (google.rpc.RetryInfo).
absl::Status WithRetryDelay(absl::Status status, absl::Duration delay);

// Says which limit was met (google.rpc.QuotaFailure): `subject` is whose, `description` which.
absl::Status WithQuota(absl::Status status, absl::string_view subject,
                       absl::string_view description);

// Collects everything that is wrong with a request, so that the caller learns it all at once.
class Violations {
 public:
  // What comes before every field from now on: "requests[3]." for what is part of a batch.
  void SetPrefix(std::string prefix) { prefix_ = std::move(prefix); }

  // `field` is the path in the request message, for example "user_ids[3]" or "message.text".
  void Add(absl::string_view field, absl::string_view description);
  bool empty() const { return violations_.empty(); }

  // OK if nothing was added; otherwise INVALID_ARGUMENT that lists the violations, the first 100.
  absl::Status ToStatus() const;

 private:
  std::string prefix_;
  std::vector<std::pair<std::string, std::string>> violations_;
};

// What a status carries, read back.
struct ErrorDetails {
  std::string reason;                                           // empty if none was given
  std::vector<std::pair<std::string, std::string>> metadata;    // sorted by name
  std::vector<std::pair<std::string, std::string>> violations;  // field, description; as added
  std::optional<absl::Duration> retry_delay;
  std::string quota_subject;  // empty: no limit was met
  std::string quota_description;
};
ErrorDetails DetailsOf(const absl::Status& status);

}  // namespace parley
