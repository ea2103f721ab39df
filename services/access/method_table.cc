#include "services/access/method_table.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "parley/chat/v1/chat_service.pb.h"
#include "parley/chat/v1/user_service.pb.h"
#include "parley/message/v1/message_service.pb.h"

namespace parley::access {
namespace {

using Kind = Need::Kind;

Need Own(bool is_own) { return {.kind = is_own ? Kind::kNothing : Kind::kRefused}; }

// What is there for callers that act for nobody in particular.
constexpr std::nullptr_t kNotForUsers = nullptr;

// The need of requests in which `user_id` is the user who acts.
template <class Request>
Need OfUserId(const Request& request, std::int64_t user_id) {
  return Own(request.user_id() == user_id);
}

template <class Request>
Need OfOneChat(Kind kind, const Request& request) {
  return {.kind = kind, .chat_ids = {request.chat_id()}};
}

// Of requests that name a message by its id, or by chat and seq.
template <class Request>
Need OfOneMessage(const Request& request) {
  if (request.message_id() == 0) return OfOneChat(Kind::kMember, request);
  return {.kind = Kind::kMember, .message_ids = {request.message_id()}};
}

// The rows of one service.
class Rows {
 public:
  Rows(std::vector<MethodAccess>& table, std::string service)
      : table_(table), service_(std::move(service)) {}

  void Add(absl::string_view method, ScopeSet any_of, std::nullptr_t) {
    table_.push_back({absl::StrCat(service_, "/", method), any_of, nullptr});
  }

  template <class Request>
  void Add(absl::string_view method, ScopeSet any_of, Need (*need)(const Request&, std::int64_t)) {
    table_.push_back({absl::StrCat(service_, "/", method), any_of,
                      [need](const google::protobuf::Message& request, std::int64_t user_id) {
                        return need(dynamic_cast<const Request&>(request), user_id);
                      }});
  }

 private:
  std::vector<MethodAccess>& table_;
  const std::string service_;
};

void AddUsers(std::vector<MethodAccess>& table) {
  namespace v1 = chat::v1;
  Rows rows(table, "parley.chat.v1.UserService");
  rows.Add("CreateUser", {Scope::kChatWrite}, kNotForUsers);
  rows.Add<v1::GetUserRequest>("GetUser", {Scope::kChatRead}, OfUserId);
  rows.Add("BatchGetUsers", {Scope::kChatRead}, kNotForUsers);
  rows.Add("ListUsers", {Scope::kChatRead}, kNotForUsers);
  rows.Add<v1::UpdateUserRequest>(
      "UpdateUser", {Scope::kChatWrite},
      [](const v1::UpdateUserRequest& request, std::int64_t user_id) {
        // Who is blocked may not say that they are not. A mask names what changes; without one it
        // is what is set.
        const auto& mask = request.update_mask().paths();
        const bool status = mask.empty()
                                ? request.user().status() != v1::USER_STATUS_UNSPECIFIED
                                : std::any_of(mask.begin(), mask.end(), [](const auto& path) {
                                    return path == "status" || path == "*";
                                  });
        return Own(request.user().id() == user_id && !status);
      });
  // The old password has not been asked for; whoever has done that may set the new one.
  rows.Add("SetPassword", {Scope::kChatWrite}, kNotForUsers);
  rows.Add("VerifyPassword", {Scope::kChatWrite}, kNotForUsers);
  rows.Add<v1::DeleteUserRequest>("DeleteUser", {Scope::kChatWrite}, OfUserId);
  rows.Add<v1::EraseUserRequest>("EraseUser", {Scope::kChatWrite}, OfUserId);
  rows.Add<v1::GetErasureRequest>("GetErasure", {Scope::kChatRead}, OfUserId);
}

void AddChats(std::vector<MethodAccess>& table) {
  namespace v1 = chat::v1;
  Rows rows(table, "parley.chat.v1.ChatService");
  rows.Add<v1::CreateChatRequest>("CreateChat", {Scope::kChatWrite},
                                  [](const v1::CreateChatRequest& request, std::int64_t user_id) {
                                    return Own(request.creator_user_id() == user_id);
                                  });
  rows.Add<v1::GetChatRequest>("GetChat", {Scope::kChatRead},
                               [](const v1::GetChatRequest& request, std::int64_t) {
                                 return OfOneChat(Kind::kMember, request);
                               });
  rows.Add<v1::BatchGetChatsRequest>(
      "BatchGetChats", {Scope::kChatRead},
      [](const v1::BatchGetChatsRequest& request, std::int64_t) {
        return Need{.kind = Kind::kMember,
                    .chat_ids = {request.chat_ids().begin(), request.chat_ids().end()}};
      });
  rows.Add("ListChats", {Scope::kChatRead}, kNotForUsers);
  rows.Add<v1::UpdateChatRequest>(
      "UpdateChat", {Scope::kChatWrite}, [](const v1::UpdateChatRequest& request, std::int64_t) {
        return Need{.kind = Kind::kManager, .chat_ids = {request.chat().id()}};
      });
  rows.Add<v1::DeleteChatRequest>("DeleteChat", {Scope::kChatWrite},
                                  [](const v1::DeleteChatRequest& request, std::int64_t) {
                                    return OfOneChat(Kind::kOwner, request);
                                  });
  // user_id is whom the call is about, so it may be another user. Were it enough to name oneself,
  // everybody could join every chat, and read it.
  rows.Add<v1::AddUserToChatRequest>(
      "AddUserToChat", {Scope::kChatWrite},
      [](const v1::AddUserToChatRequest& request, std::int64_t) {
        const bool as_member =
            request.role() == v1::CHAT_ROLE_UNSPECIFIED || request.role() == v1::CHAT_ROLE_MEMBER;
        return OfOneChat(as_member ? Kind::kManager : Kind::kOwner, request);
      });
  rows.Add<v1::RemoveUserFromChatRequest>(
      "RemoveUserFromChat", {Scope::kChatWrite},
      [](const v1::RemoveUserFromChatRequest& request, std::int64_t user_id) {
        return OfOneChat(request.user_id() == user_id ? Kind::kMember : Kind::kOwner, request);
      });
  rows.Add<v1::ListChatUsersRequest>("ListChatUsers", {Scope::kChatRead},
                                     [](const v1::ListChatUsersRequest& request, std::int64_t) {
                                       return OfOneChat(Kind::kMember, request);
                                     });
  rows.Add<v1::ListUserChatsRequest>("ListUserChats", {Scope::kChatRead}, OfUserId);
}

void AddMessages(std::vector<MethodAccess>& table) {
  namespace v1 = message::v1;
  Rows rows(table, "parley.message.v1.MessageService");
  const ScopeSet read = {Scope::kMessageRead};
  const ScopeSet write = {Scope::kMessageWrite};
  rows.Add<v1::SendMessageRequest>("SendMessage", write, OfUserId);
  rows.Add<v1::BatchSendMessagesRequest>(
      "BatchSendMessages", write,
      [](const v1::BatchSendMessagesRequest& request, std::int64_t user_id) {
        return Own(
            std::all_of(request.requests().begin(), request.requests().end(),
                        [user_id](const auto& message) { return message.user_id() == user_id; }));
      });
  rows.Add<v1::GetMessageRequest>(
      "GetMessage", read,
      [](const v1::GetMessageRequest& request, std::int64_t) { return OfOneMessage(request); });
  rows.Add<v1::BatchGetMessagesRequest>(
      "BatchGetMessages", read, [](const v1::BatchGetMessagesRequest& request, std::int64_t) {
        Need need = {.kind = Kind::kMember,
                     .message_ids = {request.message_ids().begin(), request.message_ids().end()}};
        if (request.chat_id() != 0) need.chat_ids.push_back(request.chat_id());
        return need;
      });
  rows.Add<v1::ListMessagesRequest>("ListMessages", read,
                                    [](const v1::ListMessagesRequest& request, std::int64_t) {
                                      return OfOneChat(Kind::kMember, request);
                                    });
  rows.Add<v1::UpdateMessageRequest>("UpdateMessage", write, OfUserId);
  rows.Add<v1::DeleteMessageRequest>("DeleteMessage", write, OfUserId);
  rows.Add<v1::ListMessageRevisionsRequest>("ListMessageRevisions", read,
                                            [](const v1::ListMessageRevisionsRequest& request,
                                               std::int64_t) { return OfOneMessage(request); });
  rows.Add<v1::MarkReadRequest>("MarkRead", write, OfUserId);
  rows.Add<v1::GetUnreadCountsRequest>("GetUnreadCounts", read, OfUserId);
  rows.Add<v1::SearchMessagesRequest>("SearchMessages", read, OfUserId);
  // A watch of a user's chats ends for each with the membership; one of chats by their ids would
  // not.
  rows.Add<v1::WatchMessagesRequest>("WatchMessages", read, OfUserId);
  rows.Add<v1::ScheduleMessageRequest>("ScheduleMessage", write, OfUserId);
  rows.Add<v1::CancelScheduledMessageRequest>("CancelScheduledMessage", write, OfUserId);
  rows.Add<v1::ListScheduledMessagesRequest>("ListScheduledMessages", read, OfUserId);
}

// Tasks have no user, so nobody who acts for one has any business with them.
void AddTasks(std::vector<MethodAccess>& table) {
  const ScopeSet produce = {Scope::kTaskProduce};
  const ScopeSet work = {Scope::kTaskWork};
  const ScopeSet admin = {Scope::kAdmin};
  const ScopeSet look = {Scope::kTaskProduce, Scope::kTaskWork, Scope::kAdmin};
  const ScopeSet mend = {Scope::kTaskProduce, Scope::kAdmin};
  const struct {
    absl::string_view service;
    std::vector<std::pair<absl::string_view, ScopeSet>> methods;
  } services[] = {{"SchedulerService",
                   {{"CreateTask", produce},
                    {"BatchCreateTasks", produce},
                    {"GetTask", look},
                    {"ListTasks", look},
                    {"WaitTask", look},
                    {"CancelTask", mend},
                    {"RescheduleTask", mend},
                    {"RunTaskNow", mend},
                    {"ListDeadTasks", mend},
                    {"RedriveTask", mend},
                    {"RedriveTasks", mend}}},
                  {"WorkerService",
                   {{"Work", work},
                    {"LeaseTasks", work},
                    {"AckTask", work},
                    {"FailTask", work},
                    {"ExtendLease", work},
                    {"ReleaseTask", work}}},
                  {"ScheduleService",
                   {{"CreateSchedule", produce},
                    {"GetSchedule", mend},
                    {"ListSchedules", mend},
                    {"UpdateSchedule", mend},
                    {"DeleteSchedule", mend},
                    {"PauseSchedule", mend},
                    {"ResumeSchedule", mend},
                    {"TriggerSchedule", mend},
                    {"BackfillSchedule", mend},
                    {"PreviewSchedule", mend}}},
                  // How much a queue may do, and where it leads, concerns all who use it.
                  {"QueueService",
                   {{"CreateQueue", admin},
                    {"UpdateQueue", admin},
                    {"PauseQueue", admin},
                    {"ResumeQueue", admin},
                    {"PurgeQueue", admin},
                    {"GetQueue", look},
                    {"ListQueues", look},
                    {"GetQueueStats", look}}}};
  for (const auto& [service, methods] : services) {
    Rows rows(table, absl::StrCat("parley.scheduler.v1.", service));
    for (const auto& [method, scopes] : methods) rows.Add(method, scopes, kNotForUsers);
  }
}

void Complete(MethodAccess& row) {
  for (int i = kScopeCount - 1; i >= 0; --i) {
    if (row.any_of.Contains(static_cast<Scope>(i))) row.kind = static_cast<Scope>(i);
  }
  // Null in a program that does not serve it.
  const auto* const method = google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(
      absl::StrReplaceAll(row.method, {{"/", "."}}));
  row.is_stream = method != nullptr && (method->server_streaming() || method->client_streaming());
}

}  // namespace

const std::vector<MethodAccess>& AllMethods() {
  static const auto* const table = [] {
    auto* all = new std::vector<MethodAccess>();
    AddUsers(*all);
    AddChats(*all);
    AddMessages(*all);
    AddTasks(*all);
    for (MethodAccess& row : *all) Complete(row);
    return all;
  }();
  return *table;
}

const MethodAccess* FindMethod(absl::string_view service, absl::string_view method) {
  // By service and method apart, so that nothing has to be put together for a look-up.
  using Key = std::pair<absl::string_view, absl::string_view>;
  static const auto* const index = [] {
    auto* by_name = new absl::flat_hash_map<Key, const MethodAccess*>();
    for (const MethodAccess& row : AllMethods()) {
      const absl::string_view name = row.method;
      const std::size_t slash = name.find('/');
      by_name->emplace(Key(name.substr(0, slash), name.substr(slash + 1)), &row);
    }
    return by_name;
  }();
  const auto found = index->find(Key(service, method));
  return found == index->end() ? nullptr : found->second;
}

}  // namespace parley::access
