#include "services/access/method_table.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "parley/chat/v1/chat_service.pb.h"
#include "parley/chat/v1/user_service.pb.h"
#include "parley/message/v1/message_service.pb.h"
#include "parley/scheduler/v1/queue_service.pb.h"
#include "parley/scheduler/v1/schedule_service.pb.h"
#include "parley/scheduler/v1/scheduler_service.pb.h"
#include "parley/scheduler/v1/worker_service.pb.h"

namespace parley::access {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::MessageFactory;
using google::protobuf::MethodDescriptor;

// Every method that Parley serves. (TaskHandler is what its callers serve.)
std::vector<const MethodDescriptor*> ServedMethods() {
  std::vector<const MethodDescriptor*> methods;
  for (const auto* file : {chat::v1::GetUserRequest::descriptor()->file(),
                           chat::v1::GetChatRequest::descriptor()->file(),
                           message::v1::GetMessageRequest::descriptor()->file(),
                           scheduler::v1::GetQueueRequest::descriptor()->file(),
                           scheduler::v1::GetScheduleRequest::descriptor()->file(),
                           scheduler::v1::GetTaskRequest::descriptor()->file(),
                           scheduler::v1::AckTaskRequest::descriptor()->file()}) {
    for (int i = 0; i < file->service_count(); ++i) {
      for (int k = 0; k < file->service(i)->method_count(); ++k) {
        methods.push_back(file->service(i)->method(k));
      }
    }
  }
  return methods;
}

TEST(MethodTable, HasEveryMethodOnceAndNoOther) {
  std::set<std::string> served;
  for (const MethodDescriptor* method : ServedMethods()) {
    const std::string& service = method->service()->full_name();
    served.insert(absl::StrCat(service, "/", method->name()));
    const MethodAccess* const access = FindMethod(service, method->name());
    ASSERT_NE(access, nullptr) << method->full_name();
    EXPECT_FALSE(access->any_of.empty()) << method->full_name();
  }
  std::set<std::string> listed;
  for (const MethodAccess& access : AllMethods()) {
    EXPECT_TRUE(listed.insert(access.method).second) << access.method << " is there twice";
  }
  EXPECT_EQ(listed, served);
}

TEST(MethodTable, ReadsTakeScopesThatReadAndWritesTakeOthers) {
  const std::set<std::string> reading = {"Get",   "List",    "BatchGet", "Search",
                                         "Watch", "Preview", "Wait"};
  for (const MethodAccess& access : AllMethods()) {
    if (access.method.find("parley.scheduler") == 0) continue;  // its scopes are roles
    const std::string name = access.method.substr(access.method.find('/') + 1);
    bool reads = false;
    for (const std::string& verb : reading) reads = reads || name.find(verb) == 0;
    EXPECT_EQ(access.any_of.Intersects({Scope::kChatRead, Scope::kMessageRead}), reads)
        << access.method;
  }
}

TEST(MethodTable, RequestsThatNameNobodyAreNeverAUsersOwn) {
  for (const MethodDescriptor* method : ServedMethods()) {
    const MethodAccess* const access = FindMethod(method->service()->full_name(), method->name());
    ASSERT_NE(access, nullptr);
    if (access->need == nullptr || method->name() == "BatchSendMessages") continue;
    const Descriptor* const input = method->input_type();
    const auto* const prototype = MessageFactory::generated_factory()->GetPrototype(input);
    EXPECT_NE(access->need(*prototype, 7).kind, Need::Kind::kNothing) << method->full_name();
  }
}

TEST(MethodTable, TasksAreNotForUsers) {
  for (const MethodAccess& access : AllMethods()) {
    if (access.method.find("parley.scheduler") == 0) {
      EXPECT_EQ(access.need, nullptr) << access.method;
    }
  }
}

TEST(MethodTable, DoesNotKnowWhatIsNotThere) {
  EXPECT_EQ(FindMethod("parley.chat.v1.UserService", "GetUsers"), nullptr);
  EXPECT_EQ(FindMethod("parley.chat.v1.User", "GetUser"), nullptr);
  EXPECT_EQ(FindMethod("", ""), nullptr);
}

}  // namespace
}  // namespace parley::access
