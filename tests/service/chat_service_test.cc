#include "services/chat/chat_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

#include "db/repository/event_repository.h"
#include "db/repository/notifier.h"
#include "services/chat/user_service.h"
#include "tests/support/service_client.h"
#include "tests/support/temp_database.h"

namespace parley::chat {
namespace {

using grpc::StatusCode;
using parley::testing::FieldsOf;
using parley::testing::InProcessServer;
using parley::testing::ReasonOf;
using parley::testing::TempDatabase;
using ::testing::ElementsAre;

class ChatServices : public ::testing::Test {
 protected:
  v1::User NewUser(const std::string& login, const std::string& password = "") {
    v1::CreateUserRequest request;
    request.set_login(login);
    request.set_password(password);
    v1::User user;
    grpc::ClientContext context;
    const grpc::Status status = users_->CreateUser(&context, request, &user);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return user;
  }

  v1::Chat NewChat(std::int64_t creator) {
    v1::CreateChatRequest request;
    request.set_creator_user_id(creator);
    request.set_title("t");
    request.set_chat_type(v1::CHAT_TYPE_GROUP);
    v1::Chat chat;
    grpc::ClientContext context;
    EXPECT_TRUE(chats_->CreateChat(&context, request, &chat).ok());
    return chat;
  }

  grpc::Status Verify(const std::string& login, const std::string& password, v1::User* user) {
    v1::VerifyPasswordRequest request;
    request.set_login(login);
    request.set_password(password);
    grpc::ClientContext context;
    return users_->VerifyPassword(&context, request, user);
  }

  TempDatabase database_;
  runtime::Executor executor_{{.threads = 4}};
  runtime::CallPipeline user_calls_{{.service = "parley.chat.v1.UserService"}, executor_};
  runtime::CallPipeline chat_calls_{{.service = "parley.chat.v1.ChatService"}, executor_};
  db::UserRepository user_repository_{database_.pool()};
  db::ChatRepository chat_repository_{database_.pool()};
  db::PasswordAttemptRepository attempts_{database_.pool(), {}};
  PasswordHasher hasher_;
  db::ErasureRepository erasures_{database_.pool()};
  UserService user_service_{
      user_calls_, user_repository_, {executor_, hasher_, attempts_}, {erasures_, [] {}}};
  db::Notifier moves_{database_.pool(), db::kMemberChannel};
  ChatService chat_service_{chat_calls_, chat_repository_, moves_};
  InProcessServer server_{{&user_service_, &chat_service_}};
  std::unique_ptr<v1::UserService::Stub> users_ = v1::UserService::NewStub(server_.channel());
  std::unique_ptr<v1::ChatService::Stub> chats_ = v1::ChatService::NewStub(server_.channel());
};

TEST_F(ChatServices, ListEverythingThatIsWrongWithARequest) {
  v1::CreateChatRequest request;
  request.add_user_ids(0);
  request.set_description(std::string(513, 'x'));
  request.set_request_id("has blanks");
  v1::Chat chat;
  grpc::ClientContext context;
  const grpc::Status status = chats_->CreateChat(&context, request, &chat);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(FieldsOf(status), ElementsAre("creator_user_id", "title", "description", "chat_type",
                                            "user_ids[0]", "request_id"));
}

TEST_F(ChatServices, VerifyPasswordsWithoutTellingWhatWasWrong) {
  const v1::User ann = NewUser("Ann", "right");
  NewUser("bob");
  v1::User user;
  EXPECT_TRUE(Verify("ANN", "right", &user).ok());
  EXPECT_EQ(user.id(), ann.id());
  const grpc::Status wrong_password = Verify("ann", "wrong", &user);
  const grpc::Status wrong_login = Verify("nobody", "wrong", &user);
  const grpc::Status no_password = Verify("bob", "wrong", &user);
  EXPECT_EQ(wrong_password.error_code(), StatusCode::UNAUTHENTICATED);
  for (const grpc::Status& other : {wrong_login, no_password}) {
    EXPECT_EQ(other.error_code(), wrong_password.error_code());
    EXPECT_EQ(other.error_message(), wrong_password.error_message());
    EXPECT_EQ(other.error_details(), wrong_password.error_details());
  }
}

TEST_F(ChatServices, TakeALegacyPasswordOnceAndKeepItsHash) {
  const v1::User ann = NewUser("ann");
  NewUser("bob");
  database_.Sql(
      "INSERT INTO legacy_passwords SELECT id, 'plain', login = 'ann' FROM users ORDER BY id");
  v1::User user;
  const grpc::Status nobody = Verify("nobody", "plain", &user);
  for (const grpc::Status& refused : {Verify("ann", "Plain", &user), Verify("ann", "plain ", &user),
                                      Verify("bob", "plain", &user)}) {
    EXPECT_EQ(refused.error_code(), StatusCode::UNAUTHENTICATED);
    EXPECT_EQ(refused.error_message(), nobody.error_message());
    EXPECT_EQ(refused.error_details(), nobody.error_details());
  }
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM legacy_passwords"), "2");

  ASSERT_TRUE(Verify("ann", "plain", &user).ok());
  EXPECT_EQ(user.etag(), ann.etag());
  EXPECT_EQ(user.update_time().DebugString(), ann.update_time().DebugString());
  EXPECT_EQ(database_.Sql("SELECT password_hash LIKE '$argon2id$%' FROM users WHERE login = 'ann'"),
            "t");
  EXPECT_EQ(database_.Sql("SELECT string_agg(login, ',') FROM legacy_passwords"
                          " JOIN users ON id = user_id"),
            "bob");
  EXPECT_TRUE(Verify("ann", "plain", &user).ok());
  EXPECT_EQ(Verify("ann", "Plain", &user).error_code(), StatusCode::UNAUTHENTICATED);
}

TEST_F(ChatServices, ForgetALegacyPasswordWhenItIsSet) {
  v1::SetPasswordRequest request;
  request.set_user_id(NewUser("ann").id());
  database_.Sql("INSERT INTO legacy_passwords SELECT id, 'plain', true FROM users");
  v1::User user;
  grpc::ClientContext context;
  ASSERT_TRUE(users_->SetPassword(&context, request, &user).ok());  // removes it
  EXPECT_EQ(Verify("ann", "plain", &user).error_code(), StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM legacy_passwords"), "0");
}

TEST_F(ChatServices, TellThatAUserIsBlockedOnlyAfterTheRightPassword) {
  v1::UpdateUserRequest request;
  request.mutable_user()->set_id(NewUser("ann", "right").id());
  request.mutable_user()->set_status(v1::USER_STATUS_BLOCKED);
  v1::User user;
  grpc::ClientContext context;
  ASSERT_TRUE(users_->UpdateUser(&context, request, &user).ok());
  EXPECT_EQ(Verify("ann", "wrong", &user).error_code(), StatusCode::UNAUTHENTICATED);
  const grpc::Status right = Verify("ann", "right", &user);
  EXPECT_EQ(right.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(ReasonOf(right), "USER_BLOCKED");
}

TEST_F(ChatServices, StorePasswordsAsArgon2idAndRemoveThem) {
  v1::SetPasswordRequest request;
  request.set_user_id(NewUser("ann", "first").id());
  EXPECT_EQ(database_.Sql("SELECT password_hash LIKE '$argon2id$%' FROM users"), "t");
  v1::User user;
  grpc::ClientContext context;
  ASSERT_TRUE(users_->SetPassword(&context, request, &user).ok());
  EXPECT_EQ(database_.Sql("SELECT password_hash IS NULL FROM users"), "t");
  EXPECT_EQ(Verify("ann", "first", &user).error_code(), StatusCode::UNAUTHENTICATED);
}

TEST_F(ChatServices, PageThroughUsersThatKeepArriving) {
  std::set<std::string> expected;
  for (int i = 0; i < 7; ++i) expected.insert(NewUser("u" + std::to_string(i)).login());
  std::set<std::string> seen;
  v1::ListUsersRequest request;
  request.set_limit(3);
  int late = 0;
  do {
    v1::ListUsersResponse response;
    grpc::ClientContext context;
    ASSERT_TRUE(users_->ListUsers(&context, request, &response).ok());
    for (const v1::User& user : response.users()) {
      EXPECT_TRUE(seen.insert(user.login()).second) << "twice: " << user.login();
    }
    request.set_page_token(response.next_page_token());
    // Whoever comes before the last page is on a page.
    if (late < 3 && !request.page_token().empty())
      expected.insert(NewUser("late" + std::to_string(late++)).login());
  } while (!request.page_token().empty());
  EXPECT_EQ(seen, expected);
}

TEST_F(ChatServices, RefuseATokenOfAnotherList) {
  NewUser("a");
  NewUser("b");
  v1::ListUsersRequest request;
  request.set_limit(1);
  v1::ListUsersResponse response;
  grpc::ClientContext first;
  ASSERT_TRUE(users_->ListUsers(&first, request, &response).ok());
  request.set_page_token(response.next_page_token());
  request.set_status(v1::USER_STATUS_ACTIVE);
  grpc::ClientContext second;
  EXPECT_THAT(FieldsOf(users_->ListUsers(&second, request, &response)), ElementsAre("page_token"));
}

TEST_F(ChatServices, AnswerBatchesInTheOrderOfTheIds) {
  const std::int64_t ann = NewUser("ann").id();
  const std::int64_t bob = NewUser("bob").id();
  v1::BatchGetUsersRequest request;
  for (const std::int64_t id : {bob, std::int64_t{999}, ann, bob}) request.add_user_ids(id);
  v1::BatchGetUsersResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(users_->BatchGetUsers(&context, request, &response).ok());
  ASSERT_EQ(response.users_size(), 2);
  EXPECT_EQ(response.users(0).id(), bob);
  EXPECT_EQ(response.users(1).id(), ann);
}

TEST_F(ChatServices, HonourTheEtagOfAChat) {
  const v1::Chat chat = NewChat(NewUser("ann").id());
  v1::UpdateChatRequest request;
  request.mutable_chat()->set_id(chat.id());
  request.mutable_chat()->set_title("new");
  request.mutable_chat()->set_etag(chat.etag());
  v1::Chat updated;
  grpc::ClientContext first;
  ASSERT_TRUE(chats_->UpdateChat(&first, request, &updated).ok());
  EXPECT_EQ(updated.title(), "new");
  EXPECT_NE(updated.etag(), chat.etag());
  grpc::ClientContext second;
  const grpc::Status again = chats_->UpdateChat(&second, request, &updated);
  EXPECT_EQ(again.error_code(), StatusCode::ABORTED);
  EXPECT_EQ(ReasonOf(again), "ETAG_MISMATCH");
}

}  // namespace
}  // namespace parley::chat
