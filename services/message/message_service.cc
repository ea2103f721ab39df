// MessageService: sending and reading.
#include "services/message/message_service.h"

#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fingerprint.h"
#include "base/text.h"
#include "services/message/list_request.h"
#include "services/message/message_convert.h"
#include "services/message/message_rules.h"
#include "services/runtime/log.h"
#include "services/runtime/status_mapping.h"

namespace parley::message {
namespace {

using db::SendOp;
using db::SendParams;
using runtime::Call;

constexpr int kMaxBatch = 100;

// `prefix` is the path of the request in the one that it came in.
SendParams FromRequest(const v1::SendMessageRequest& request, absl::string_view prefix,
                       Violations& violations) {
  CheckId(absl::StrCat(prefix, "chat_id"), request.chat_id(), violations);
  CheckId(absl::StrCat(prefix, "user_id"), request.user_id(), violations);
  CheckMessageText(absl::StrCat(prefix, "text"), request.text(), violations);
  CheckReplyTo(absl::StrCat(prefix, "reply_to_seq"), request.reply_to_seq(), violations);
  CheckRequestId(absl::StrCat(prefix, "request_id"), request.request_id(), violations);
  SendParams params;
  params.chat_id = request.chat_id();
  params.user_id = request.user_id();
  params.text = request.text();
  params.reply_to_seq = request.reply_to_seq();
  params.request_id = request.request_id();
  if (!params.request_id.empty()) {
    params.fingerprint = params.reply_to_seq == 0
                             ? Fingerprint({params.text})
                             : Fingerprint({params.text, absl::StrCat(params.reply_to_seq)});
  }
  return params;
}

// The outcome of one message of a batch.
v1::BatchSendMessagesResponse::Result ResultOf(const runtime::Call& call,
                                               const absl::StatusOr<Message>& outcome) {
  v1::BatchSendMessagesResponse::Result result;
  if (outcome.ok()) {
    *result.mutable_message() = ToProto(*outcome);
    return result;
  }
  if (outcome.status().code() == absl::StatusCode::kInternal) {
    runtime::Log(runtime::LogLevel::kError, "a message of a batch failed",
                 {{"trace_id", call.trace().trace_id()},
                  {"span_id", call.trace().span_id()},
                  {"error", std::string(outcome.status().message())}});
  }
  *result.mutable_error() = runtime::ToRpcStatus(outcome.status(), "BatchSendMessages");
  return result;
}

// Puts what was found into the order asked for. `key_of` tells what a message was asked for by.
template <class KeyOf>
v1::BatchGetMessagesResponse InOrder(const google::protobuf::RepeatedField<std::int64_t>& asked,
                                     const std::vector<Message>& found, KeyOf key_of) {
  std::unordered_map<std::int64_t, const Message*> by_key;
  for (const Message& message : found) by_key[key_of(message)] = &message;
  v1::BatchGetMessagesResponse response;
  for (const std::int64_t key : asked) {
    const auto message = by_key.find(key);
    if (message == by_key.end()) continue;
    *response.add_messages() = ToProto(*message->second);
    by_key.erase(message);
  }
  return response;
}

}  // namespace

grpc::ServerUnaryReactor* MessageService::SendMessage(Context* context, const Bytes* in,
                                                      Bytes* out) {
  return calls_.UnaryNow<v1::SendMessageRequest, v1::Message>(
      {.name = "SendMessage"}, context, in, out,
      [this](const Call& call, const v1::SendMessageRequest& request, Done<v1::Message> done) {
        Send(call, request, std::move(done));
      });
}

void MessageService::Send(const Call& call, const v1::SendMessageRequest& request,
                          Done<v1::Message> done) {
  Violations violations;
  SendParams params = FromRequest(request, "", violations);
  if (!violations.empty()) return done(violations.ToStatus());
  std::vector<SendParams> messages;
  messages.push_back(std::move(params));
  messages_.Send(
      std::move(messages), call.deadline(),
      [this, done = std::move(done)](const SendOp::Outcomes& outcomes) {
        const absl::StatusOr<Message>& outcome = outcomes.front();
        if (!outcome.ok()) return done(outcome.status());
        parts_.watches.Changed(outcome->chat_id);
        done(ToProto(*outcome));
      },
      [&call] { return call.IsCancelled(); });
}

grpc::ServerUnaryReactor* MessageService::BatchSendMessages(Context* context, const Bytes* in,
                                                            Bytes* out) {
  return calls_.UnaryNow<v1::BatchSendMessagesRequest, v1::BatchSendMessagesResponse>(
      {.name = "BatchSendMessages"}, context, in, out,
      [this](const Call& call, const v1::BatchSendMessagesRequest& request,
             Done<v1::BatchSendMessagesResponse> done) {
        BatchSend(call, request, std::move(done));
      });
}

void MessageService::BatchSend(const Call& call, const v1::BatchSendMessagesRequest& request,
                               Done<v1::BatchSendMessagesResponse> done) {
  Violations size;
  if (request.requests().empty()) size.Add("requests", "must not be empty");
  if (request.requests_size() > kMaxBatch) {
    size.Add("requests", absl::StrCat("must be at most ", kMaxBatch));
  }
  if (!size.empty()) return done(size.ToStatus());

  std::vector<SendParams> good;
  std::vector<absl::Status> refused(static_cast<std::size_t>(request.requests_size()));
  for (int i = 0; i < request.requests_size(); ++i) {
    Violations violations;
    SendParams params =
        FromRequest(request.requests(i), absl::StrCat("requests[", i, "]."), violations);
    refused[static_cast<std::size_t>(i)] = violations.ToStatus();
    if (violations.empty()) good.push_back(std::move(params));
  }
  auto answer = [this, &call, refused, done = std::move(done)](const SendOp::Outcomes& outcomes) {
    for (const absl::StatusOr<Message>& outcome : outcomes) {
      if (outcome.ok()) parts_.watches.Changed(outcome->chat_id);
    }
    v1::BatchSendMessagesResponse response;
    auto outcome = outcomes.begin();
    for (const absl::Status& status : refused) {
      *response.add_results() = ResultOf(call, status.ok() ? *outcome++ : status);
    }
    done(std::move(response));
  };
  if (good.empty()) return answer({});
  messages_.Send(std::move(good), call.deadline(), std::move(answer),
                 [&call] { return call.IsCancelled(); });
}

grpc::ServerUnaryReactor* MessageService::GetMessage(Context* context, const Bytes* in,
                                                     Bytes* out) {
  return calls_.UnaryNow<v1::GetMessageRequest, v1::Message>(
      {.name = "GetMessage"}, context, in, out,
      [this](const Call& call, const v1::GetMessageRequest& request, Done<v1::Message> done) {
        Violations violations;
        const MessageKey key{request.message_id(), request.chat_id(), request.seq()};
        CheckKey(key, {}, violations);
        if (!violations.empty()) return done(violations.ToStatus());
        messages_.Get(key, call.deadline(),
                      [done = std::move(done)](const absl::StatusOr<Message>& message) {
                        if (!message.ok()) return done(message.status());
                        done(ToProto(*message));
                      });
      });
}

grpc::ServerUnaryReactor* MessageService::BatchGetMessages(Context* context, const Bytes* in,
                                                           Bytes* out) {
  return calls_.UnaryNow<v1::BatchGetMessagesRequest, v1::BatchGetMessagesResponse>(
      {.name = "BatchGetMessages"}, context, in, out,
      [this](const Call& call, const v1::BatchGetMessagesRequest& request,
             Done<v1::BatchGetMessagesResponse> done) {
        BatchGet(call, request, std::move(done));
      });
}

void MessageService::BatchGet(const Call& call, const v1::BatchGetMessagesRequest& request,
                              Done<v1::BatchGetMessagesResponse> done) {
  Violations violations;
  CheckBatchGet({request.message_ids().begin(), request.message_ids().end()}, request.chat_id(),
                {request.seqs().begin(), request.seqs().end()}, violations);
  if (!violations.empty()) return done(violations.ToStatus());
  const bool by_id = !request.message_ids().empty();
  const auto& asked = by_id ? request.message_ids() : request.seqs();
  // The request lives until it is answered.
  auto answer = [&asked, by_id,
                 done = std::move(done)](const absl::StatusOr<std::vector<Message>>& found) {
    if (!found.ok()) return done(found.status());
    done(InOrder(asked, *found,
                 [by_id](const Message& message) { return by_id ? message.id : message.seq; }));
  };
  const std::vector<std::int64_t> keys(asked.begin(), asked.end());
  if (by_id) return messages_.BatchGet(keys, call.deadline(), std::move(answer));
  messages_.BatchGet(request.chat_id(), keys, call.deadline(), std::move(answer));
}

grpc::ServerUnaryReactor* MessageService::ListMessages(Context* context, const Bytes* in,
                                                       Bytes* out) {
  return calls_.UnaryNow<v1::ListMessagesRequest, v1::ListMessagesResponse>(
      {.name = "ListMessages"}, context, in, out,
      [this](const Call& call, const v1::ListMessagesRequest& request,
             Done<v1::ListMessagesResponse> done) { List(call, request, std::move(done)); });
}

void MessageService::List(const Call& call, const v1::ListMessagesRequest& request,
                          Done<v1::ListMessagesResponse> done) {
  Violations violations;
  const ListRequest list = FromRequest(request, violations);
  if (!violations.empty()) return done(violations.ToStatus());
  messages_.List(list.params, call.deadline(),
                 [binding = list.binding, done = std::move(done)](
                     const absl::StatusOr<db::MessageRepository::MessagePage>& page) {
                   if (!page.ok()) return done(page.status());
                   done(ToResponse(*page, binding));
                 });
}

}  // namespace parley::message
