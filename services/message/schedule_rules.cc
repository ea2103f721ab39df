#include "services/message/schedule_rules.h"

namespace parley::message {

void CheckReplyToSeq(std::int64_t reply_to_seq, Violations& violations) {
  if (reply_to_seq < 0) violations.Add("reply_to_seq", "must not be negative");
}

bool IsWorthRetrying(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kFailedPrecondition:
      return false;
    default:
      return true;
  }
}

}  // namespace parley::message
