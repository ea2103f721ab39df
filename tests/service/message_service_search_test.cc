#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "services/message/message_service.h"
#include "services/runtime/page_token.h"
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

class SearchMessages : public ::testing::Test {
 protected:
  SearchMessages() {
    request_.set_query("tea");
    request_.set_user_id(ann_);
  }

  void Say(int count, const std::string& text) {
    for (int i = 0; i < count; ++i) {
      repository_.Send({.chat_id = chat_, .user_id = ann_, .text = text}, parley::testing::Soon())
          .value();
    }
    database_.Sql("UPDATE messages SET search = to_tsvector('simple', text) WHERE NOT deleted");
  }

  grpc::Status Search() {
    grpc::ClientContext context;
    return stub_->SearchMessages(&context, request_, &response_);
  }

  // The seqs of all pages.
  std::vector<std::int64_t> Walk() {
    std::vector<std::int64_t> seqs;
    do {
      const grpc::Status status = Search();
      EXPECT_TRUE(status.ok()) << status.error_message();
      if (!status.ok()) break;
      for (const v1::Message& message : response_.messages()) seqs.push_back(message.seq());
      request_.set_page_token(response_.next_page_token());
    } while (!request_.page_token().empty());
    return seqs;
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
  const std::int64_t bob_ = parley::testing::NewUser(database_.pool(), "bob");
  const std::int64_t chat_ = parley::testing::NewChat(database_.pool(), {ann_});
  v1::SearchMessagesRequest request_;
  v1::SearchMessagesResponse response_;
};

TEST_F(SearchMessages, NamesEveryFieldThatIsWrong) {
  request_ = v1::SearchMessagesRequest();
  request_.set_chat_id(-1);
  request_.set_order(static_cast<v1::SearchOrder>(9));
  request_.set_limit(-1);
  request_.set_offset(-1);
  const grpc::Status status = Search();
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(FieldsOf(status),
              ElementsAre("query", "user_id", "chat_id", "order", "limit", "offset"));
}

TEST_F(SearchMessages, GivesTwentyByDefaultAndAHundredAtMost) {
  Say(105, "tea");
  ASSERT_TRUE(Search().ok());
  EXPECT_EQ(response_.messages_size(), 20);
  request_.set_limit(1'000'000);
  ASSERT_TRUE(Search().ok());
  EXPECT_EQ(response_.messages_size(), 100);
  EXPECT_EQ(response_.messages(0).text(), "tea");
}

TEST_F(SearchMessages, PagesInBothOrders) {
  Say(3, "tea");
  Say(3, "tea and tea");
  Say(1, "tea");
  request_.set_limit(2);
  EXPECT_THAT(Walk(), ElementsAre(7, 6, 5, 4, 3, 2, 1));
  request_.set_order(v1::SEARCH_ORDER_NEWEST);
  EXPECT_THAT(Walk(), ElementsAre(7, 6, 5, 4, 3, 2, 1));
  request_.set_order(v1::SEARCH_ORDER_RELEVANCE);
  EXPECT_THAT(Walk(), ElementsAre(6, 5, 4, 7, 3, 2, 1));
  request_.set_offset(5);
  ASSERT_TRUE(Search().ok());
  EXPECT_EQ(response_.messages_size(), 2);
}

TEST_F(SearchMessages, TakesATokenForItsOwnSearchOnly) {
  Say(3, "tea");
  request_.set_limit(1);
  ASSERT_TRUE(Search().ok());
  request_.set_page_token(response_.next_page_token());
  // What is not said is NEWEST.
  request_.set_order(v1::SEARCH_ORDER_NEWEST);
  EXPECT_TRUE(Search().ok());
  const v1::SearchMessagesRequest good = request_;
  request_.set_query("teas");
  EXPECT_THAT(FieldsOf(Search()), ElementsAre("page_token"));
  request_ = good;
  request_.set_order(v1::SEARCH_ORDER_RELEVANCE);
  EXPECT_THAT(FieldsOf(Search()), ElementsAre("page_token"));
  request_ = good;
  request_.set_chat_id(chat_);
  EXPECT_THAT(FieldsOf(Search()), ElementsAre("page_token"));
  request_ = good;
  request_.set_user_id(bob_);
  EXPECT_THAT(FieldsOf(Search()), ElementsAre("page_token"));
  request_ = good;
  request_.set_offset(1);
  EXPECT_THAT(FieldsOf(Search()), ElementsAre("offset", "page_token"));
}

TEST_F(SearchMessages, SayWhoMayNotSearchWhere) {
  Say(1, "tea");
  request_.set_user_id(bob_);
  ASSERT_TRUE(Search().ok());
  EXPECT_EQ(response_.messages_size(), 0);
  request_.set_chat_id(chat_);
  grpc::Status status = Search();
  EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(ReasonOf(status), "NOT_A_MEMBER");
  request_.set_chat_id(999);
  status = Search();
  EXPECT_EQ(status.error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOf(status), "CHAT_NOT_FOUND");
  request_.set_user_id(999);
  EXPECT_EQ(ReasonOf(Search()), "USER_NOT_FOUND");
}

}  // namespace
}  // namespace parley::message
