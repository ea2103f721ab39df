#include "services/message/message_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/support/people.h"
#include "tests/support/service_client.h"
#include "tests/support/temp_database.h"

namespace parley::message {
namespace {

using grpc::StatusCode;
using parley::testing::FieldsOf;
using parley::testing::InProcessServer;
using parley::testing::ReasonOf;
using parley::testing::TempDatabase;
using ::testing::ElementsAre;

class Messages : public ::testing::Test {
 protected:
  grpc::Status Send(const std::string& text, const std::string& request_id, v1::Message* message) {
    v1::SendMessageRequest request;
    request.set_chat_id(chat_);
    request.set_user_id(ann_);
    request.set_text(text);
    request.set_request_id(request_id);
    grpc::ClientContext context;
    return stub_->SendMessage(&context, request, message);
  }
  grpc::Status List(const v1::ListMessagesRequest& request, v1::ListMessagesResponse* response) {
    grpc::ClientContext context;
    return stub_->ListMessages(&context, request, response);
  }
  void SendMany(int count) {
    v1::Message message;
    for (int i = 0; i < count; ++i) ASSERT_TRUE(Send("x", "", &message).ok());
  }

  TempDatabase database_;
  runtime::Executor executor_{{.threads = 4}};
  runtime::CallPipeline calls_{{.service = "parley.message.v1.MessageService"}, executor_};
  db::MessageRepository repository_{database_.pool()};
  db::SearchRepository search_{database_.pool(), "simple"};
  db::ScheduledMessageRepository scheduled_{database_.pool()};
  db::EventRepository events_{database_.pool()};
  db::Notifier notifier_{database_.pool(), db::kMessageChannel};
  WatchHub watches_{events_, notifier_};
  MessageService service_{calls_,
                          {.messages = repository_,
                           .search = search_,
                           .scheduled = scheduled_,
                           .watches = watches_,
                           .default_zone = "UTC"}};
  InProcessServer server_{{&service_}};
  std::unique_ptr<v1::MessageService::Stub> stub_ = v1::MessageService::NewStub(server_.channel());
  const std::int64_t ann_ = parley::testing::NewUser(database_.pool(), "ann");
  const std::int64_t chat_ = parley::testing::NewChat(database_.pool(), {ann_});
};

TEST_F(Messages, AnswerARepeatedRequestWithTheFirstAnswer) {
  v1::Message first;
  v1::Message second;
  ASSERT_TRUE(Send("hello", "r", &first).ok());
  ASSERT_TRUE(Send("hello", "r", &second).ok());
  EXPECT_EQ(first.SerializeAsString(), second.SerializeAsString());
  const grpc::Status reused = Send("other", "r", &second);
  EXPECT_EQ(reused.error_code(), StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(ReasonOf(reused), "REQUEST_ID_REUSED");
}

TEST_F(Messages, GiveTwentyByDefaultAndTwoHundredAtMost) {
  SendMany(205);
  v1::ListMessagesRequest request;
  request.set_chat_id(chat_);
  v1::ListMessagesResponse response;
  ASSERT_TRUE(List(request, &response).ok());
  ASSERT_EQ(response.messages_size(), 20);
  EXPECT_EQ(response.messages(0).seq(), 205);
  request.set_limit(1'000'000);
  ASSERT_TRUE(List(request, &response).ok());
  EXPECT_EQ(response.messages_size(), 200);
  EXPECT_FALSE(response.next_page_token().empty());
}

TEST_F(Messages, NeitherRepeatNorSkipWhileOthersArrive) {
  SendMany(10);
  v1::ListMessagesRequest request;
  request.set_chat_id(chat_);
  request.set_limit(3);
  request.set_offset(2);
  std::vector<std::int64_t> seqs;
  do {
    v1::ListMessagesResponse response;
    ASSERT_TRUE(List(request, &response).ok());
    for (const v1::Message& message : response.messages()) seqs.push_back(message.seq());
    request.set_offset(0);
    request.set_page_token(response.next_page_token());
    SendMany(2);
  } while (!request.page_token().empty());
  EXPECT_THAT(seqs, ElementsAre(8, 7, 6, 5, 4, 3, 2, 1));
}

TEST_F(Messages, AreListedFromAnAnchorInItsDirection) {
  SendMany(6);
  v1::ListMessagesRequest request;
  request.set_chat_id(chat_);
  request.set_limit(2);
  request.set_after_seq(0);
  v1::ListMessagesResponse response;
  ASSERT_TRUE(List(request, &response).ok());
  EXPECT_EQ(response.messages(0).seq(), 1);
  request.set_page_token(response.next_page_token());
  ASSERT_TRUE(List(request, &response).ok());
  EXPECT_EQ(response.messages(0).seq(), 3);
  request.set_before_seq(3);
  EXPECT_THAT(FieldsOf(List(request, &response)), ElementsAre("page_token"));
  request.clear_page_token();
  ASSERT_TRUE(List(request, &response).ok());
  EXPECT_EQ(response.messages(0).seq(), 2);
}

TEST_F(Messages, ListEverythingThatIsWrongWithARequest) {
  v1::ListMessagesRequest request;
  request.set_limit(-1);
  request.set_offset(-1);
  request.set_before_seq(-1);
  v1::ListMessagesResponse response;
  EXPECT_THAT(FieldsOf(List(request, &response)),
              ElementsAre("chat_id", "before_seq", "limit", "offset"));
  v1::UpdateMessageRequest update;
  update.mutable_message()->set_id(-1);
  update.mutable_update_mask()->add_paths("seq");
  v1::Message message;
  grpc::ClientContext context;
  EXPECT_THAT(FieldsOf(stub_->UpdateMessage(&context, update, &message)),
              ElementsAre("message.id", "user_id", "update_mask"));
}

}  // namespace
}  // namespace parley::message
