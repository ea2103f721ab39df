#include "services/message/message_service.h"

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fingerprint.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "services/message/message_convert.h"
#include "services/message/message_rules.h"
#include "services/runtime/page_token.h"
#include "services/runtime/wire.h"

namespace parley::message {
namespace {

using db::MessageRepository;
using runtime::Call;

constexpr runtime::PageLimits kPageLimits{.standard = 20, .max = 200};

// Where a list begins without a token, as a position of the repository's.
std::optional<std::int64_t> StartOf(const v1::ListMessagesRequest& request,
                                    Violations& violations) {
  switch (request.anchor_case()) {
    case v1::ListMessagesRequest::kBeforeSeq:
      if (request.before_seq() <= 0) violations.Add("before_seq", "must be positive");
      return request.before_seq();
    case v1::ListMessagesRequest::kAfterSeq:
      if (request.after_seq() < 0) violations.Add("after_seq", "must not be negative");
      return request.after_seq();
    case v1::ListMessagesRequest::ANCHOR_NOT_SET:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

grpc::ServerUnaryReactor* MessageService::SendMessage(Context* context, const Bytes* in,
                                                      Bytes* out) {
  return calls_.Unary<v1::SendMessageRequest, v1::Message>(
      {.name = "SendMessage"}, context, in, out,
      [this](const Call& call, const v1::SendMessageRequest& request) {
        return Send(call, request);
      });
}

absl::StatusOr<v1::Message> MessageService::Send(const Call& call,
                                                 const v1::SendMessageRequest& request) {
  Violations violations;
  CheckId("chat_id", request.chat_id(), violations);
  CheckId("user_id", request.user_id(), violations);
  CheckMessageText("text", request.text(), violations);
  CheckRequestId(request.request_id(), violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const Message message,
                          messages_.Send({.chat_id = request.chat_id(),
                                          .user_id = request.user_id(),
                                          .text = request.text(),
                                          .request_id = request.request_id(),
                                          .fingerprint = Fingerprint({request.text()})},
                                         call.deadline()));
  return ToProto(message);
}

grpc::ServerUnaryReactor* MessageService::GetMessage(Context* context, const Bytes* in,
                                                     Bytes* out) {
  return calls_.Unary<v1::GetMessageRequest, v1::Message>(
      {.name = "GetMessage"}, context, in, out,
      [this](const Call& call,
             const v1::GetMessageRequest& request) -> absl::StatusOr<v1::Message> {
        Violations violations;
        const MessageKey key{request.message_id(), request.chat_id(), request.seq()};
        CheckKey(key, {}, violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_ASSIGN_OR_RETURN(const Message message, messages_.Get(key, call.deadline()));
        return ToProto(message);
      });
}

grpc::ServerUnaryReactor* MessageService::ListMessages(Context* context, const Bytes* in,
                                                       Bytes* out) {
  return calls_.Unary<v1::ListMessagesRequest, v1::ListMessagesResponse>(
      {.name = "ListMessages"}, context, in, out,
      [this](const Call& call, const v1::ListMessagesRequest& request) {
        return List(call, request);
      });
}

absl::StatusOr<v1::ListMessagesResponse> MessageService::List(
    const Call& call, const v1::ListMessagesRequest& request) {
  Violations violations;
  CheckId("chat_id", request.chat_id(), violations);
  const std::optional<std::int64_t> start = StartOf(request, violations);
  const std::string binding =
      Fingerprint({"ListMessages", absl::StrCat(request.chat_id()),
                   absl::StrCat(request.anchor_case()), absl::StrCat(start.value_or(0))});
  const runtime::PageRequest page = runtime::CheckPage(
      {request.limit(), request.offset(), request.page_token()}, binding, kPageLimits, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());

  MessageRepository::ListParams params;
  params.chat_id = request.chat_id();
  if (request.has_after_seq()) params.direction = MessageRepository::Direction::kOldestFirst;
  params.page = {page.limit, page.offset, page.position ? page.number() : start};
  PARLEY_ASSIGN_OR_RETURN(const auto messages, messages_.List(params, call.deadline()));
  v1::ListMessagesResponse response;
  for (const Message& message : messages.rows) *response.add_messages() = ToProto(message);
  if (messages.next) {
    response.set_next_page_token(runtime::EncodePageToken(binding, absl::StrCat(*messages.next)));
  }
  return response;
}

grpc::ServerUnaryReactor* MessageService::UpdateMessage(Context* context, const Bytes* in,
                                                        Bytes* out) {
  return calls_.Unary<v1::UpdateMessageRequest, v1::Message>(
      {.name = "UpdateMessage"}, context, in, out,
      [this](const Call& call, const v1::UpdateMessageRequest& request) {
        return Update(call, request);
      });
}

absl::StatusOr<v1::Message> MessageService::Update(const Call& call,
                                                   const v1::UpdateMessageRequest& request) {
  Violations violations;
  const v1::Message& message = request.message();
  const MessageKey key{message.id(), message.chat_id(), message.seq()};
  CheckKey(key, {"message.id", "message.chat_id", "message.seq"}, violations);
  CheckId("user_id", request.user_id(), violations);
  const std::set<std::string> fields = runtime::FieldsToUpdate(
      request.has_update_mask() ? &request.update_mask() : nullptr, {"text"}, {"text"}, violations);
  if (fields.contains("text")) CheckMessageText("message.text", message.text(), violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const Message edited,
                          messages_.Edit({.key = key,
                                          .user_id = request.user_id(),
                                          .text = message.text(),
                                          .version = runtime::VersionFromEtag(message.etag())},
                                         call.deadline()));
  return ToProto(edited);
}

grpc::ServerUnaryReactor* MessageService::DeleteMessage(Context* context, const Bytes* in,
                                                        Bytes* out) {
  return calls_.Unary<v1::DeleteMessageRequest, v1::Message>(
      {.name = "DeleteMessage"}, context, in, out,
      [this](const Call& call,
             const v1::DeleteMessageRequest& request) -> absl::StatusOr<v1::Message> {
        Violations violations;
        const MessageKey key{request.message_id(), request.chat_id(), request.seq()};
        CheckKey(key, {}, violations);
        CheckId("user_id", request.user_id(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_ASSIGN_OR_RETURN(const Message message,
                                messages_.Delete(key, request.user_id(), call.deadline()));
        return ToProto(message);
      });
}

}  // namespace parley::message
