// Scheduled messages as callers see them, with a worker that sends them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "services/jobs/worker.h"
#include "services/message/message_service.h"
#include "services/message/scheduled_sender.h"
#include "services/runtime/wire.h"
#include "tests/support/await.h"
#include "tests/support/people.h"
#include "tests/support/service_client.h"
#include "tests/support/temp_database.h"

namespace parley::message {
namespace {

using grpc::StatusCode;
using parley::testing::FieldsOf;
using parley::testing::InProcessServer;
using parley::testing::ReasonOf;
using parley::testing::Soon;
using parley::testing::TempDatabase;
using ::testing::ElementsAre;

class Scheduled : public ::testing::Test {
 protected:
  // Begins to send what is due.
  void StartSending() {
    worker_ = std::make_unique<jobs::Worker>(
        tasks_, database_.dsn(),
        jobs::Worker::Options{.queue = kScheduledMessagesQueue, .threads = 2},
        [this](const jobs::Job& job) { return sender_.Run(job); });
  }

  v1::ScheduleMessageRequest Request(const std::string& text, absl::Time when) const {
    v1::ScheduleMessageRequest request;
    request.set_chat_id(chat_);
    request.set_user_id(ann_);
    request.set_text(text);
    *request.mutable_run_time() = runtime::ToTimestamp(when);
    return request;
  }
  v1::ScheduledMessage Schedule(const v1::ScheduleMessageRequest& request) {
    grpc::ClientContext context;
    v1::ScheduledMessage scheduled;
    const grpc::Status status = stub_->ScheduleMessage(&context, request, &scheduled);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return scheduled;
  }
  grpc::Status Cancel(std::int64_t id, std::int64_t user, v1::ScheduledMessage* cancelled) {
    grpc::ClientContext context;
    v1::CancelScheduledMessageRequest request;
    request.set_scheduled_message_id(id);
    request.set_user_id(user);
    return stub_->CancelScheduledMessage(&context, request, cancelled);
  }
  grpc::Status List(const v1::ListScheduledMessagesRequest& request,
                    v1::ListScheduledMessagesResponse* response) {
    grpc::ClientContext context;
    return stub_->ListScheduledMessages(&context, request, response);
  }
  // The message once it has left the state SCHEDULED.
  v1::ScheduledMessage Ended(std::int64_t id) {
    v1::ListScheduledMessagesRequest request;
    request.set_user_id(ann_);
    request.set_limit(100);
    for (const absl::Time deadline = Soon(); absl::Now() < deadline;) {
      v1::ListScheduledMessagesResponse response;
      EXPECT_TRUE(List(request, &response).ok());
      for (const v1::ScheduledMessage& scheduled : response.scheduled_messages()) {
        if (scheduled.id() == id && scheduled.state() != v1::SCHEDULED_MESSAGE_STATE_SCHEDULED) {
          return scheduled;
        }
      }
      absl::SleepFor(absl::Milliseconds(5));
    }
    return {};
  }

  TempDatabase database_;
  runtime::Executor executor_{{.threads = 4}};
  runtime::CallPipeline calls_{{.service = "parley.message.v1.MessageService"}, executor_};
  db::MessageRepository messages_{database_.pool()};
  db::TaskRepository tasks_{database_.pool()};
  db::ScheduledMessageRepository scheduled_{database_.pool()};
  db::EventRepository events_{database_.pool()};
  db::Notifier notifier_{database_.pool(), db::kMessageChannel};
  WatchHub watches_{events_, notifier_};
  db::ChatRepository chats_{database_.pool()};
  // What the next sends answer instead of sending, or after it.
  std::function<absl::StatusOr<Message>(const db::MessageRepository::SendParams&)> instead_;
  const ScheduledSender sender_{
      scheduled_, tasks_,
      [this](const db::MessageRepository::SendParams& params, absl::Time deadline) {
        return instead_ ? instead_(params) : messages_.Send(params, deadline);
      }};
  std::unique_ptr<jobs::Worker> worker_;
  db::SearchRepository search_{database_.pool(), "simple"};
  MessageService service_{calls_,
                          {.messages = messages_,
                           .search = search_,
                           .scheduled = scheduled_,
                           .watches = watches_,
                           .default_zone = "Europe/Berlin",
                           .on_scheduled = [this] {
                             if (worker_ != nullptr) worker_->Hint();
                           }}};
  InProcessServer server_{{&service_}};
  std::unique_ptr<v1::MessageService::Stub> stub_ = v1::MessageService::NewStub(server_.channel());
  const std::int64_t bob_ = parley::testing::NewUser(database_.pool(), "bob");
  const std::int64_t ann_ = parley::testing::NewUser(database_.pool(), "ann");
  const std::int64_t chat_ = parley::testing::NewChat(database_.pool(), {bob_, ann_});
};

TEST_F(Scheduled, AreSentAtTheirTime) {
  StartSending();
  const absl::Time when = absl::Now() + absl::Milliseconds(700);
  const v1::ScheduledMessage scheduled = Schedule(Request("hello", when));
  EXPECT_EQ(scheduled.state(), v1::SCHEDULED_MESSAGE_STATE_SCHEDULED);
  EXPECT_EQ(scheduled.text(), "hello");
  const v1::ScheduledMessage sent = Ended(scheduled.id());
  EXPECT_EQ(sent.state(), v1::SCHEDULED_MESSAGE_STATE_SENT);
  EXPECT_EQ(sent.seq(), 1);
  EXPECT_EQ(sent.text(), "");
  const auto message = parley::testing::Await<absl::StatusOr<Message>>(
      [&](auto done) { messages_.Get({.chat_id = chat_, .seq = 1}, Soon(), std::move(done)); });
  EXPECT_EQ(message->text, "hello");
  EXPECT_EQ(message->user_id, ann_);
  EXPECT_GE(message->create_time, absl::FromUnixMicros(absl::ToUnixMicros(when)));
}

TEST_F(Scheduled, AreSentAtOnceIfTheirTimeHasPassed) {
  StartSending();
  EXPECT_EQ(Ended(Schedule(Request("hello", absl::UnixEpoch())).id()).seq(), 1);
}

TEST_F(Scheduled, EndVisiblyWhenTheyAreRefused) {
  const v1::ScheduledMessage scheduled = Schedule(Request("hello", absl::Now()));
  ASSERT_TRUE(chats_.RemoveMember(chat_, ann_, Soon()).ok());
  StartSending();
  const v1::ScheduledMessage failed = Ended(scheduled.id());
  EXPECT_EQ(failed.state(), v1::SCHEDULED_MESSAGE_STATE_FAILED);
  EXPECT_EQ(failed.failure_reason(), "NOT_A_MEMBER");
  EXPECT_EQ(failed.text(), "hello");
  const auto task = tasks_.GetTask(scheduled.task_id(), Soon());
  EXPECT_EQ(task->state, TaskState::kDead);
  EXPECT_EQ(task->attempt, 1);
}

TEST_F(Scheduled, AreTriedAgainAndNotDoubledWhenAnAnswerWasLost) {
  std::atomic<int> sends{0};
  instead_ = [&](const db::MessageRepository::SendParams& params) -> absl::StatusOr<Message> {
    absl::StatusOr<Message> sent = messages_.Send(params, Soon());
    if (++sends > 1) return sent;
    return Error(absl::StatusCode::kUnavailable, reason::kCommitInDoubt, "lost");
  };
  StartSending();
  const v1::ScheduledMessage sent = Ended(Schedule(Request("hello", absl::Now())).id());
  EXPECT_EQ(sent.state(), v1::SCHEDULED_MESSAGE_STATE_SENT);
  EXPECT_EQ(sends, 2);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM messages"), "1");
  EXPECT_EQ(tasks_.GetTask(sent.task_id(), Soon())->errors.back().text, "COMMIT_IN_DOUBT");
}

TEST_F(Scheduled, AreSentAsTheyWereScheduled) {
  ASSERT_TRUE(messages_.Send({.chat_id = chat_, .user_id = bob_, .text = "?"}, Soon()).ok());
  Mutex mutex;
  db::MessageRepository::SendParams seen;
  instead_ = [&](const db::MessageRepository::SendParams& params) -> absl::StatusOr<Message> {
    MutexLock lock(mutex);
    seen = params;
    return messages_.Send(params, Soon());
  };
  StartSending();
  v1::ScheduleMessageRequest request = Request("hello", absl::Now());
  request.set_reply_to_seq(1);
  const v1::ScheduledMessage sent = Ended(Schedule(request).id());
  EXPECT_EQ(sent.reply_to_seq(), 1);
  MutexLock lock(mutex);
  EXPECT_EQ(seen.reply_to_seq, 1);
  EXPECT_EQ(seen.text, "hello");
  EXPECT_EQ(seen.request_id, absl::StrCat("task ", sent.task_id()));
}

TEST_F(Scheduled, AreNotSentOnceCancelled) {
  const absl::Time when = absl::Now();
  const v1::ScheduledMessage scheduled = Schedule(Request("no", when));
  v1::ScheduledMessage cancelled;
  ASSERT_TRUE(Cancel(scheduled.id(), bob_, &cancelled).ok());  // the owner of the chat
  StartSending();
  EXPECT_EQ(cancelled.state(), v1::SCHEDULED_MESSAGE_STATE_CANCELLED);
  EXPECT_EQ(Ended(Schedule(Request("yes", when + absl::Milliseconds(1))).id()).seq(), 1);
  EXPECT_EQ(database_.Sql("SELECT text FROM messages"), "yes");
  EXPECT_EQ(ReasonOf(Cancel(scheduled.id() + 1, ann_, &cancelled)), "SCHEDULED_MESSAGE_ENDED");
}

TEST_F(Scheduled, GoWithTheirChat) {
  const v1::ScheduledMessage scheduled = Schedule(Request("x", absl::Now()));
  ASSERT_TRUE(chats_.Delete(chat_, Soon()).ok());
  StartSending();
  for (const absl::Time deadline = Soon(); absl::Now() < deadline;) {
    if (tasks_.GetTask(scheduled.task_id(), Soon())->state == TaskState::kSucceeded) return;
    absl::SleepFor(absl::Milliseconds(5));
  }
  FAIL() << "the task does not end";
}

TEST_F(Scheduled, UnderstandLocalTimesOfTheServersZone) {
  v1::ScheduleMessageRequest request = Request("x", absl::Now());
  request.mutable_local_time()->set_date_time("2099-07-01T12:00:00");
  const v1::ScheduledMessage scheduled = Schedule(request);
  EXPECT_EQ(scheduled.local_time_resolution(), scheduler::v1::LOCAL_TIME_RESOLUTION_UNIQUE);
  EXPECT_EQ(scheduled.run_time().seconds() % 86400, 10 * 3600);
}

TEST_F(Scheduled, AreListedInPages) {
  std::vector<std::int64_t> ids;
  for (int i = 0; i < 5; ++i) {
    ids.insert(ids.begin(), Schedule(Request("x", absl::Now() + absl::Hours(1))).id());
  }
  v1::ListScheduledMessagesRequest request;
  request.set_user_id(ann_);
  request.set_limit(2);
  request.set_state(v1::SCHEDULED_MESSAGE_STATE_SCHEDULED);
  std::vector<std::int64_t> seen;
  do {
    v1::ListScheduledMessagesResponse response;
    ASSERT_TRUE(List(request, &response).ok());
    for (const auto& scheduled : response.scheduled_messages()) seen.push_back(scheduled.id());
    request.set_page_token(response.next_page_token());
    Schedule(Request("later", absl::Now() + absl::Hours(1)));
  } while (!request.page_token().empty());
  EXPECT_EQ(seen, ids);
  request.set_state(v1::SCHEDULED_MESSAGE_STATE_SENT);
  v1::ListScheduledMessagesResponse response;
  ASSERT_TRUE(List(request, &response).ok());
  EXPECT_EQ(response.scheduled_messages_size(), 0);
}

TEST_F(Scheduled, ListEverythingThatIsWrongWithARequest) {
  v1::ScheduleMessageRequest request;
  request.set_reply_to_seq(-1);
  request.set_request_id("a b");
  grpc::ClientContext context;
  v1::ScheduledMessage scheduled;
  EXPECT_THAT(FieldsOf(stub_->ScheduleMessage(&context, request, &scheduled)),
              ElementsAre("chat_id", "user_id", "text", "reply_to_seq", "run_time", "request_id"));
  EXPECT_THAT(FieldsOf(Cancel(0, 0, &scheduled)), ElementsAre("scheduled_message_id", "user_id"));
  v1::ListScheduledMessagesRequest list;
  list.set_chat_id(-1);
  list.set_state(static_cast<v1::ScheduledMessageState>(9));
  list.set_limit(-1);
  v1::ListScheduledMessagesResponse response;
  EXPECT_THAT(FieldsOf(List(list, &response)), ElementsAre("user_id", "chat_id", "state", "limit"));
  list.Clear();
  list.set_user_id(99);
  EXPECT_EQ(ReasonOf(List(list, &response)), "USER_NOT_FOUND");
}

}  // namespace
}  // namespace parley::message
