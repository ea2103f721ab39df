// MessageService: what is unread.
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/status_macros.h"
#include "db/repository/chat_repository.h"
#include "services/message/message_convert.h"
#include "services/message/message_rules.h"
#include "services/message/message_service.h"

namespace parley::message {

using runtime::Call;

grpc::ServerUnaryReactor* MessageService::MarkRead(Context* context, const Bytes* in, Bytes* out) {
  return calls_.UnaryLater<v1::MarkReadRequest, v1::UnreadCount>(
      {.name = "MarkRead"}, context, in, out,
      [this](const Call& call, const v1::MarkReadRequest& request, Done<v1::UnreadCount> done) {
        Violations violations;
        CheckId("chat_id", request.chat_id(), violations);
        CheckId("user_id", request.user_id(), violations);
        if (request.seq() < 0) violations.Add("seq", "must not be negative");
        if (!violations.empty()) return done(violations.ToStatus());
        const absl::Status marked = messages_.MarkRead(request.chat_id(), request.user_id(),
                                                       request.seq(), call.deadline());
        if (!marked.ok()) return done(marked);
        messages_.GetUnreadCounts(
            request.user_id(), {request.chat_id()}, call.deadline(),
            [chat_id = request.chat_id(), user_id = request.user_id(),
             done = std::move(done)](const absl::StatusOr<std::vector<UnreadCount>>& counts) {
              if (!counts.ok()) return done(counts.status());
              // The member may have left between the two.
              if (counts->empty()) return done(db::NotAMember(chat_id, user_id));
              done(ToProto(counts->front()));
            });
      });
}

grpc::ServerUnaryReactor* MessageService::GetUnreadCounts(Context* context, const Bytes* in,
                                                          Bytes* out) {
  return calls_.UnaryNow<v1::GetUnreadCountsRequest, v1::GetUnreadCountsResponse>(
      {.name = "GetUnreadCounts"}, context, in, out,
      [this](const Call& call, const v1::GetUnreadCountsRequest& request,
             Done<v1::GetUnreadCountsResponse> done) { Unread(call, request, std::move(done)); });
}

void MessageService::Unread(const Call& call, const v1::GetUnreadCountsRequest& request,
                            Done<v1::GetUnreadCountsResponse> done) {
  Violations violations;
  CheckId("user_id", request.user_id(), violations);
  const std::vector<std::int64_t> chats(request.chat_ids().begin(), request.chat_ids().end());
  CheckIds("chat_ids", chats, kMaxUnreadChats, violations);
  if (!violations.empty()) return done(violations.ToStatus());
  messages_.GetUnreadCounts(
      request.user_id(), chats, call.deadline(),
      [done = std::move(done)](const absl::StatusOr<std::vector<UnreadCount>>& counts) {
        if (!counts.ok()) return done(counts.status());
        v1::GetUnreadCountsResponse response;
        std::int64_t total = 0;
        for (const UnreadCount& count : *counts) {
          *response.add_counts() = ToProto(count);
          total += count.unread;
        }
        response.set_total_unread_count(total);
        done(std::move(response));
      });
}

}  // namespace parley::message
