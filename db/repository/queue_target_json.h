// How a queue's target is written in its row.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "db/model/queue_target.h"

namespace parley::db {

// {"name": "...", "grpc": {"timeout_us": 1, "max_calls": 1}} or
// {"name": "...", "celery": {"queue": "...", "mode": "fire_and_forget" | "track_result",
//  "result_timeout_us": 1, "redis_priorities": false}}
std::string ToJson(const QueueTarget& target);
// INTERNAL for what this version does not write.
absl::StatusOr<QueueTarget> QueueTargetFromJson(absl::string_view text);

}  // namespace parley::db
