#include "services/message/schedule_convert.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/fingerprint.h"
#include "services/jobs/local_time_convert.h"
#include "services/runtime/wire.h"

namespace parley::message {
namespace {

v1::ScheduledMessageState StateToProto(ScheduledMessageState state) {
  switch (state) {
    case ScheduledMessageState::kScheduled:
      return v1::SCHEDULED_MESSAGE_STATE_SCHEDULED;
    case ScheduledMessageState::kSent:
      return v1::SCHEDULED_MESSAGE_STATE_SENT;
    case ScheduledMessageState::kCancelled:
      return v1::SCHEDULED_MESSAGE_STATE_CANCELLED;
    case ScheduledMessageState::kFailed:
      return v1::SCHEDULED_MESSAGE_STATE_FAILED;
  }
  return v1::SCHEDULED_MESSAGE_STATE_UNSPECIFIED;
}

}  // namespace

v1::ScheduledMessage ToProto(const ScheduledMessage& scheduled) {
  v1::ScheduledMessage proto;
  proto.set_id(scheduled.id);
  proto.set_chat_id(scheduled.chat_id);
  proto.set_user_id(scheduled.user_id);
  proto.set_text(scheduled.text);
  proto.set_reply_to_seq(scheduled.reply_to_seq);
  *proto.mutable_run_time() = runtime::ToTimestamp(scheduled.run_time);
  if (scheduled.resolution) {
    proto.set_local_time_resolution(jobs::ToProto(*scheduled.resolution));
  }
  proto.set_state(StateToProto(scheduled.state));
  proto.set_task_id(scheduled.task_id);
  proto.set_seq(scheduled.seq);
  proto.set_failure_reason(scheduled.failure_reason);
  *proto.mutable_create_time() = runtime::ToTimestamp(scheduled.create_time);
  *proto.mutable_update_time() = runtime::ToTimestamp(scheduled.update_time);
  return proto;
}

SendTime SendTimeOf(const v1::ScheduleMessageRequest& request, absl::string_view default_zone,
                    Violations& violations) {
  switch (request.when_case()) {
    case v1::ScheduleMessageRequest::kRunTime:
      return {runtime::FromTimestamp("run_time", request.run_time(), violations)
                  .value_or(absl::UnixEpoch()),
              std::nullopt};
    case v1::ScheduleMessageRequest::kLocalTime: {
      std::optional<ResolvedLocalTime> resolved = ResolveLocalTime(
          jobs::FromProto(request.local_time(), violations), default_zone, violations);
      if (!resolved) return {};
      return {resolved->instant, std::move(resolved->local_time)};
    }
    case v1::ScheduleMessageRequest::WHEN_NOT_SET:
      violations.Add("run_time", "either run_time or local_time must be set");
      return {};
  }
  return {};
}

std::optional<ScheduledMessageState> FilterFromProto(v1::ScheduledMessageState state,
                                                     Violations& violations) {
  switch (state) {
    case v1::SCHEDULED_MESSAGE_STATE_UNSPECIFIED:
      return std::nullopt;
    case v1::SCHEDULED_MESSAGE_STATE_SCHEDULED:
      return ScheduledMessageState::kScheduled;
    case v1::SCHEDULED_MESSAGE_STATE_SENT:
      return ScheduledMessageState::kSent;
    case v1::SCHEDULED_MESSAGE_STATE_CANCELLED:
      return ScheduledMessageState::kCancelled;
    case v1::SCHEDULED_MESSAGE_STATE_FAILED:
      return ScheduledMessageState::kFailed;
    default:
      violations.Add("state", "is not a known value");
      return std::nullopt;
  }
}

std::string FingerprintOf(const v1::ScheduleMessageRequest& request) {
  const std::string when =
      request.has_run_time()
          ? absl::StrCat("run_time ", request.run_time().seconds(), " ", request.run_time().nanos())
          : jobs::FingerprintOf(request.local_time());
  return Fingerprint(
      {"ScheduleMessage", request.text(), absl::StrCat(request.reply_to_seq()), when});
}

}  // namespace parley::message
