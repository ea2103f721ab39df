// WatchMessages.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/status_macros.h"
#include "services/message/message_rules.h"
#include "services/message/message_service.h"
#include "services/message/watch_token.h"
#include "services/runtime/stream.h"

namespace parley::message {
namespace {

// What is asked for, or all that is wrong with it.
absl::StatusOr<WatchDemand> ToDemand(const v1::WatchMessagesRequest& request) {
  Violations violations;
  WatchDemand demand;
  demand.chat_ids.assign(request.chat_ids().begin(), request.chat_ids().end());
  demand.user_id = request.user_id();
  CheckWatched(demand.chat_ids, demand.user_id, violations);
  if (!request.resume_token().empty()) {
    absl::StatusOr<WatchPositions> after =
        DecodeResumeToken(demand.user_id, request.resume_token());
    if (after.ok()) {
      demand.after = *std::move(after);
    } else {
      for (const auto& [field, why] : DetailsOf(after.status()).violations) {
        violations.Add(field, why);
      }
    }
  }
  if (request.has_heartbeat_interval()) {
    demand.heartbeat = absl::Seconds(request.heartbeat_interval().seconds()) +
                       absl::Nanoseconds(request.heartbeat_interval().nanos());
    CheckHeartbeatInterval(demand.heartbeat, violations);
  }
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  std::sort(demand.chat_ids.begin(), demand.chat_ids.end());
  demand.chat_ids.erase(std::unique(demand.chat_ids.begin(), demand.chat_ids.end()),
                        demand.chat_ids.end());
  return demand;
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* MessageService::WatchMessages(Context* context,
                                                                          const Bytes* in) {
  return runtime::ServeStream<v1::WatchMessagesRequest>(
      calls_, {.name = "WatchMessages"}, context, in,
      [this](const v1::WatchMessagesRequest& request,
             const std::shared_ptr<runtime::Stream>& stream) -> absl::Status {
        PARLEY_ASSIGN_OR_RETURN(WatchDemand demand, ToDemand(request));
        parts_.watches.Open(std::move(demand), stream);
        return absl::OkStatus();
      });
}

}  // namespace parley::message
