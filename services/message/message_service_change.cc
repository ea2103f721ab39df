// MessageService: editing, deleting, and what was said before.
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fingerprint.h"
#include "base/status_macros.h"
#include "services/message/message_convert.h"
#include "services/message/message_rules.h"
#include "services/message/message_service.h"
#include "services/runtime/page_token.h"
#include "services/runtime/wire.h"

namespace parley::message {

using runtime::Call;

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
  parts_.watches.Changed(edited.chat_id);
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
        parts_.watches.Changed(message.chat_id);
        return ToProto(message);
      });
}

grpc::ServerUnaryReactor* MessageService::ListMessageRevisions(Context* context, const Bytes* in,
                                                               Bytes* out) {
  return calls_.Unary<v1::ListMessageRevisionsRequest, v1::ListMessageRevisionsResponse>(
      {.name = "ListMessageRevisions"}, context, in, out,
      [this](const Call& call, const v1::ListMessageRevisionsRequest& request) {
        return ListRevisions(call, request);
      });
}

absl::StatusOr<v1::ListMessageRevisionsResponse> MessageService::ListRevisions(
    const Call& call, const v1::ListMessageRevisionsRequest& request) {
  Violations violations;
  const MessageKey key{request.message_id(), request.chat_id(), request.seq()};
  CheckKey(key, {}, violations);
  const std::string binding = Fingerprint({"ListMessageRevisions", absl::StrCat(key.id),
                                           absl::StrCat(key.chat_id), absl::StrCat(key.seq)});
  const runtime::PageRequest page = runtime::CheckPage(
      {request.limit(), request.offset(), request.page_token()}, binding, {}, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PageParams<std::int32_t> params{page.limit, page.offset, std::nullopt};
  if (page.position) params.after = static_cast<std::int32_t>(page.number().value_or(0));
  PARLEY_ASSIGN_OR_RETURN(const auto revisions,
                          messages_.ListRevisions(key, params, call.deadline()));
  v1::ListMessageRevisionsResponse response;
  for (const MessageRevision& revision : revisions.rows) {
    *response.add_revisions() = ToProto(revision);
  }
  if (revisions.next) {
    response.set_next_page_token(runtime::EncodePageToken(binding, absl::StrCat(*revisions.next)));
  }
  return response;
}

}  // namespace parley::message
