// The calls on messages that are sent later.

#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fingerprint.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "services/message/message_rules.h"
#include "services/message/message_service.h"
#include "services/message/schedule_convert.h"
#include "services/message/schedule_rules.h"
#include "services/runtime/page_token.h"

namespace parley::message {

using runtime::Call;

grpc::ServerUnaryReactor* MessageService::ScheduleMessage(Context* context, const Bytes* in,
                                                          Bytes* out) {
  return calls_.Unary<v1::ScheduleMessageRequest, v1::ScheduledMessage>(
      {.name = "ScheduleMessage"}, context, in, out,
      [this](const Call& call, const v1::ScheduleMessageRequest& request) {
        return Schedule(call, request);
      });
}

absl::StatusOr<v1::ScheduledMessage> MessageService::Schedule(
    const Call& call, const v1::ScheduleMessageRequest& request) {
  Violations violations;
  CheckId("chat_id", request.chat_id(), violations);
  CheckId("user_id", request.user_id(), violations);
  CheckMessageText("text", request.text(), violations);
  CheckReplyToSeq(request.reply_to_seq(), violations);
  const SendTime when = SendTimeOf(request, parts_.default_zone, violations);
  CheckRequestId(request.request_id(), violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const ScheduledMessage scheduled,
                          parts_.scheduled.Schedule({.chat_id = request.chat_id(),
                                                     .user_id = request.user_id(),
                                                     .text = request.text(),
                                                     .reply_to_seq = request.reply_to_seq(),
                                                     .run_time = when.instant,
                                                     .local_time = when.local_time,
                                                     .request_id = request.request_id(),
                                                     .fingerprint = FingerprintOf(request)},
                                                    call.deadline()));
  parts_.on_scheduled();
  return ToProto(scheduled);
}

grpc::ServerUnaryReactor* MessageService::CancelScheduledMessage(Context* context, const Bytes* in,
                                                                 Bytes* out) {
  return calls_.Unary<v1::CancelScheduledMessageRequest, v1::ScheduledMessage>(
      {.name = "CancelScheduledMessage"}, context, in, out,
      [this](const Call& call, const v1::CancelScheduledMessageRequest& request)
          -> absl::StatusOr<v1::ScheduledMessage> {
        Violations violations;
        CheckId("scheduled_message_id", request.scheduled_message_id(), violations);
        CheckId("user_id", request.user_id(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_ASSIGN_OR_RETURN(const ScheduledMessage cancelled,
                                parts_.scheduled.Cancel(request.scheduled_message_id(),
                                                        request.user_id(), call.deadline()));
        return ToProto(cancelled);
      });
}

grpc::ServerUnaryReactor* MessageService::ListScheduledMessages(Context* context, const Bytes* in,
                                                                Bytes* out) {
  return calls_.Unary<v1::ListScheduledMessagesRequest, v1::ListScheduledMessagesResponse>(
      {.name = "ListScheduledMessages"}, context, in, out,
      [this](const Call& call, const v1::ListScheduledMessagesRequest& request) {
        return ListScheduled(call, request);
      });
}

absl::StatusOr<v1::ListScheduledMessagesResponse> MessageService::ListScheduled(
    const Call& call, const v1::ListScheduledMessagesRequest& request) {
  Violations violations;
  db::ScheduledMessageRepository::ListParams params;
  CheckId("user_id", request.user_id(), violations);
  params.user_id = request.user_id();
  if (request.chat_id() < 0) violations.Add("chat_id", "must not be negative");
  params.chat_id = request.chat_id();
  params.state = FilterFromProto(request.state(), violations);
  const std::string binding =
      Fingerprint({"ListScheduledMessages", absl::StrCat(request.user_id()),
                   absl::StrCat(request.chat_id()), absl::StrCat(request.state())});
  const runtime::PageRequest page = runtime::CheckPage(
      {request.limit(), request.offset(), request.page_token()}, binding, {}, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  params.page = {page.limit, page.offset, page.number()};
  PARLEY_ASSIGN_OR_RETURN(const auto found, parts_.scheduled.List(params, call.deadline()));
  v1::ListScheduledMessagesResponse response;
  for (const ScheduledMessage& scheduled : found.rows) {
    *response.add_scheduled_messages() = ToProto(scheduled);
  }
  if (found.next) {
    response.set_next_page_token(runtime::EncodePageToken(binding, absl::StrCat(*found.next)));
  }
  return response;
}

}  // namespace parley::message
