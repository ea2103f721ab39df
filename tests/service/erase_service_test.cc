// Erasures as callers see them, with a worker that takes the steps.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "db/repository/chat_repository.h"
#include "db/repository/message_repository.h"
#include "services/chat/user_eraser.h"
#include "services/chat/user_service.h"
#include "services/jobs/worker.h"
#include "tests/support/people.h"
#include "tests/support/service_client.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::chat {
namespace {

using parley::testing::FieldsOf;
using parley::testing::InProcessServer;
using parley::testing::IsOk;
using parley::testing::ReasonOf;
using parley::testing::Soon;
using parley::testing::TempDatabase;
using ::testing::ElementsAre;

class EraseUser : public ::testing::Test {
 protected:
  grpc::Status Erase(std::int64_t user, v1::Erasure* erasure) {
    grpc::ClientContext context;
    v1::EraseUserRequest request;
    request.set_user_id(user);
    return stub_->EraseUser(&context, request, erasure);
  }
  grpc::Status Get(std::int64_t user, v1::Erasure* erasure) {
    grpc::ClientContext context;
    v1::GetErasureRequest request;
    request.set_user_id(user);
    return stub_->GetErasure(&context, request, erasure);
  }
  v1::Erasure Done(std::int64_t user) {
    v1::Erasure erasure;
    for (const absl::Time deadline = Soon(); absl::Now() < deadline;) {
      EXPECT_TRUE(Get(user, &erasure).ok());
      if (erasure.done()) break;
      absl::SleepFor(absl::Milliseconds(5));
    }
    return erasure;
  }

  TempDatabase database_;
  db::UserRepository users_{database_.pool()};
  db::PasswordAttemptRepository attempts_{database_.pool(), {}};
  db::MessageRepository messages_{database_.pool()};
  db::TaskRepository tasks_{database_.pool()};
  db::ErasureRepository erasures_{database_.pool()};
  const UserEraser eraser_{erasures_};
  std::unique_ptr<jobs::Worker> worker_;
  runtime::Executor executor_{{.threads = 2}};
  runtime::CallPipeline calls_{{.service = "parley.chat.v1.UserService"}, executor_};
  const PasswordHasher hasher_;
  UserService service_{calls_, users_, {executor_, hasher_, attempts_}, {erasures_, [this] {
                                                                           if (worker_ != nullptr)
                                                                             worker_->Hint();
                                                                         }}};
  InProcessServer server_{{&service_}};
  std::unique_ptr<v1::UserService::Stub> stub_ = v1::UserService::NewStub(server_.channel());
  const std::int64_t ann_ = parley::testing::NewUser(database_.pool(), "ann");
  const std::int64_t bob_ = parley::testing::NewUser(database_.pool(), "bob");
  const std::int64_t chat_ = parley::testing::NewChat(database_.pool(), {ann_, bob_});
};

TEST_F(EraseUser, GoesOnUntilNothingRemains) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_THAT(messages_.Send({.chat_id = chat_, .user_id = ann_, .text = "x"}, Soon()), IsOk());
  }
  v1::Erasure erasure;
  ASSERT_TRUE(Erase(ann_, &erasure).ok());
  EXPECT_FALSE(erasure.done());
  EXPECT_EQ(erasure.messages_remaining(), 3);
  EXPECT_FALSE(erasure.has_finish_time());
  worker_ = std::make_unique<jobs::Worker>(
      tasks_, database_.dsn(), jobs::Worker::Options{.queue = kEraseUserQueue},
      [this](const jobs::Job& job) { return eraser_.Run(job); });
  erasure = Done(ann_);
  EXPECT_TRUE(erasure.done());
  EXPECT_EQ(erasure.messages_erased(), 3);
  EXPECT_EQ(erasure.messages_remaining(), 0);
  EXPECT_EQ(erasure.last_error(), "");
  EXPECT_TRUE(erasure.has_finish_time());
  v1::Erasure again;
  ASSERT_TRUE(Erase(ann_, &again).ok());
  EXPECT_EQ(again.SerializeAsString(), erasure.SerializeAsString());
  EXPECT_EQ(database_.Sql(absl::StrCat("SELECT role FROM chat_user WHERE chat_id = ", chat_)),
            "owner");
}

TEST_F(EraseUser, StopsBetweenStepsAndIsLeftForOthers) {
  v1::Erasure erasure;
  ASSERT_TRUE(Erase(ann_, &erasure).ok());
  jobs::Job job;
  job.task = tasks_.GetTask(erasure.task_id(), Soon()).value();
  job.stopping = [] { return true; };
  EXPECT_EQ(eraser_.Run(job).kind, jobs::Outcome::Kind::kReleased);
}

TEST_F(EraseUser, KeepsLoginsOfErasedUsersFromOthers) {
  grpc::ClientContext context;
  v1::CreateUserRequest request;
  request.set_login("Erased-7");
  v1::User user;
  EXPECT_THAT(FieldsOf(stub_->CreateUser(&context, request, &user)), ElementsAre("login"));
  v1::UpdateUserRequest update;
  update.mutable_user()->set_id(bob_);
  update.mutable_user()->set_login("erased-x");
  grpc::ClientContext update_context;
  EXPECT_THAT(FieldsOf(stub_->UpdateUser(&update_context, update, &user)),
              ElementsAre("user.login"));
}

TEST_F(EraseUser, AnswersWithWhatIsWrong) {
  v1::Erasure erasure;
  EXPECT_THAT(FieldsOf(Erase(0, &erasure)), ElementsAre("user_id"));
  EXPECT_THAT(FieldsOf(Get(-1, &erasure)), ElementsAre("user_id"));
  EXPECT_EQ(ReasonOf(Erase(99, &erasure)), "USER_NOT_FOUND");
  EXPECT_EQ(ReasonOf(Get(ann_, &erasure)), "ERASURE_NOT_FOUND");
}

}  // namespace
}  // namespace parley::chat
