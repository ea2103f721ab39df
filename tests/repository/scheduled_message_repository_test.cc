#include "db/repository/scheduled_message_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/random_token.h"
#include "db/repository/message_repository.h"
#include "tests/support/people.h"
#include "tests/support/run_threads.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

using absl::StatusCode;
using parley::testing::IsOk;
using parley::testing::NewChat;
using parley::testing::NewUser;
using parley::testing::RunThreads;
using parley::testing::Soon;
using parley::testing::StatusIs;
using parley::testing::TempDatabase;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using State = ScheduledMessageState;

class ScheduledMessages : public ::testing::Test {
 protected:
  ScheduledMessageRepository::ScheduleParams Params(std::int64_t user, const std::string& text,
                                                    const std::string& request_id = "") {
    return {.chat_id = chat_,
            .user_id = user,
            .text = text,
            .run_time = absl::Now() + absl::Hours(1),
            .request_id = request_id,
            .fingerprint = text};
  }
  ScheduledMessage Schedule(std::int64_t user, const std::string& text) {
    return scheduled_.Schedule(Params(user, text), Soon()).value();
  }
  ScheduledMessage Find(const ScheduledMessage& scheduled) {
    return scheduled_.Find({scheduled.chat_id, scheduled.id}, Soon())->value();
  }
  std::vector<std::int64_t> List(const ScheduledMessageRepository::ListParams& params) {
    const auto page = scheduled_.List(params, Soon());
    EXPECT_THAT(page, IsOk());
    std::vector<std::int64_t> ids;
    for (const ScheduledMessage& scheduled : page->rows) ids.push_back(scheduled.id);
    return ids;
  }
  // As a worker would, whenever it is due.
  LeaseKey Claim(std::int64_t task_id) {
    const std::string token = NewRandomToken();
    database_.Sql(absl::StrCat("UPDATE tasks SET state = 'running', attempt = attempt + 1, ",
                               "lease_until = now() + interval '1 h', lease_token = '", token,
                               "' WHERE id = ", task_id));
    return {task_id, token};
  }

  TempDatabase database_;
  ScheduledMessageRepository scheduled_{database_.pool()};
  TaskRepository tasks_{database_.pool()};
  MessageRepository messages_{database_.pool()};
  ChatRepository chats_{database_.pool()};
  UserRepository users_{database_.pool()};
  const std::int64_t ann_ = NewUser(database_.pool(), "ann");
  const std::int64_t bob_ = NewUser(database_.pool(), "bob");
  const std::int64_t eve_ = NewUser(database_.pool(), "eve");
  const std::int64_t chat_ = NewChat(database_.pool(), {ann_, bob_});
};

TEST_F(ScheduledMessages, AreWrittenWithTheTaskThatSendsThem) {
  auto params = Params(bob_, "later");
  params.run_time = absl::FromUnixMicros(253402300799999999);  // the last of year 9999
  params.local_time = LocalTime{"9999-12-31T23:59:59.999999", "UTC", GapPolicy::kShift,
                                FoldPolicy::kFirst, LocalTimeResolution::kShifted};
  const auto scheduled = scheduled_.Schedule(params, Soon());
  ASSERT_THAT(scheduled, IsOk());
  EXPECT_EQ(scheduled->chat_id, chat_);
  EXPECT_EQ(scheduled->user_id, bob_);
  EXPECT_EQ(scheduled->text, "later");
  EXPECT_EQ(scheduled->run_time, params.run_time);
  EXPECT_EQ(scheduled->resolution, LocalTimeResolution::kShifted);
  EXPECT_EQ(scheduled->state, State::kScheduled);
  EXPECT_EQ(scheduled->seq, 0);
  const auto task = tasks_.GetTask(scheduled->task_id, Soon());
  ASSERT_THAT(task, IsOk());
  EXPECT_EQ(task->queue, kScheduledMessagesQueue);
  EXPECT_EQ(task->run_time, params.run_time);
  const auto key = ScheduledMessageRepository::KeyOf(*task);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->id, scheduled->id);
  EXPECT_EQ(key->chat_id, chat_);
}

TEST_F(ScheduledMessages, TakeAPastTimeForNow) {
  auto params = Params(ann_, "x");
  params.run_time = absl::UnixEpoch();
  const auto scheduled = scheduled_.Schedule(params, Soon());
  ASSERT_THAT(scheduled, IsOk());
  EXPECT_EQ(scheduled->run_time, tasks_.GetTask(scheduled->task_id, Soon())->create_time);
}

TEST_F(ScheduledMessages, AreRefusedAsSendMessageWouldRefuseThem) {
  EXPECT_THAT(scheduled_.Schedule(Params(eve_, "x"), Soon()),
              StatusIs(StatusCode::kPermissionDenied, reason::kNotAMember));
  ASSERT_THAT(users_.Update({.id = bob_, .status = UserStatus::kBlocked}, Soon()), IsOk());
  EXPECT_THAT(scheduled_.Schedule(Params(bob_, "x"), Soon()),
              StatusIs(StatusCode::kPermissionDenied, reason::kUserBlocked));
  auto params = Params(ann_, "x");
  params.reply_to_seq = 1;
  EXPECT_THAT(scheduled_.Schedule(params, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kMessageNotFound));
  params.chat_id = 99;
  EXPECT_THAT(scheduled_.Schedule(params, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kChatNotFound));
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM tasks"), "0");
  ASSERT_THAT(messages_.Send({.chat_id = chat_, .user_id = ann_, .text = "x"}, Soon()), IsOk());
  params.chat_id = chat_;
  EXPECT_EQ(scheduled_.Schedule(params, Soon())->reply_to_seq, 1);
}

TEST_F(ScheduledMessages, AreWrittenOnceARequestIdOfTheirUserAndChat) {
  std::vector<std::int64_t> ids(8);
  RunThreads(8, [&](int i) {
    ids[static_cast<std::size_t>(i)] = scheduled_.Schedule(Params(ann_, "x", "r"), Soon())->id;
  });
  EXPECT_THAT(std::set<std::int64_t>(ids.begin(), ids.end()), SizeIs(1));
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM tasks"), "1");
  const absl::Status reused = scheduled_.Schedule(Params(ann_, "other", "r"), Soon()).status();
  EXPECT_THAT(reused, StatusIs(StatusCode::kAlreadyExists, reason::kRequestIdReused));
  EXPECT_THAT(DetailsOf(reused).metadata, ElementsAre(::testing::Pair("request_id", "r")));
  EXPECT_NE(scheduled_.Schedule(Params(bob_, "other", "r"), Soon())->id, ids.front());
  ASSERT_THAT(scheduled_.Cancel(ids.front(), ann_, Soon()), IsOk());
  EXPECT_EQ(scheduled_.Schedule(Params(ann_, "x", "r"), Soon())->state, State::kCancelled);
}

TEST_F(ScheduledMessages, AreCancelledByTheirAuthorOrAModerator) {
  const ScheduledMessage anns = Schedule(ann_, "a");
  const ScheduledMessage bobs = Schedule(bob_, "b");
  EXPECT_THAT(scheduled_.Cancel(anns.id, bob_, Soon()),
              StatusIs(StatusCode::kPermissionDenied, reason::kNotPermitted));
  EXPECT_THAT(scheduled_.Cancel(99, ann_, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kScheduledMessageNotFound));
  for (int i = 0; i < 2; ++i) {  // a repeat answers the same
    const auto cancelled = scheduled_.Cancel(bobs.id, ann_, Soon());
    ASSERT_THAT(cancelled, IsOk());
    EXPECT_EQ(cancelled->state, State::kCancelled);
    EXPECT_EQ(cancelled->text, "");
    EXPECT_GT(cancelled->update_time, cancelled->create_time);
  }
  EXPECT_EQ(tasks_.GetTask(bobs.task_id, Soon())->state, TaskState::kCancelled);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM scheduled_messages WHERE text = ''"), "1");
  ASSERT_THAT(scheduled_.Cancel(anns.id, ann_, Soon()), IsOk());
}

TEST_F(ScheduledMessages, AreNotCancelledWhileTheyAreSentOrAfter) {
  const ScheduledMessage scheduled = Schedule(ann_, "a");
  const LeaseKey lease = Claim(scheduled.task_id);
  EXPECT_THAT(scheduled_.Cancel(scheduled.id, ann_, Soon()),
              StatusIs(StatusCode::kFailedPrecondition, reason::kScheduledMessageEnded));
  ASSERT_THAT(scheduled_.MarkSent({chat_, scheduled.id}, 1, lease, Soon()), IsOk());
  EXPECT_THAT(scheduled_.Cancel(scheduled.id, ann_, Soon()),
              StatusIs(StatusCode::kFailedPrecondition, reason::kScheduledMessageEnded));
}

// The attempt that sent it has died before it could say so, and the task is pending again.
TEST_F(ScheduledMessages, AreNotCancelledOnceTheMessageIsThere) {
  const ScheduledMessage scheduled = Schedule(ann_, "a");
  ASSERT_THAT(messages_.Send({.chat_id = chat_,
                              .user_id = ann_,
                              .text = "a",
                              .request_id = RequestIdOfTask(scheduled.task_id),
                              .fingerprint = "f"},
                             Soon()),
              IsOk());
  EXPECT_THAT(scheduled_.Cancel(scheduled.id, ann_, Soon()),
              StatusIs(StatusCode::kFailedPrecondition, reason::kScheduledMessageEnded));
}

TEST_F(ScheduledMessages, EndTogetherWithTheirTask) {
  const ScheduledMessage sent = Schedule(ann_, "a");
  const ScheduledMessage failed = Schedule(ann_, "b");
  EXPECT_THAT(
      scheduled_.MarkSent({chat_, sent.id}, 7, {sent.task_id, std::string(32, '0')}, Soon()),
      StatusIs(StatusCode::kAborted, reason::kLeaseLost));
  EXPECT_EQ(Find(sent).state, State::kScheduled);
  ASSERT_THAT(scheduled_.MarkSent({chat_, sent.id}, 7, Claim(sent.task_id), Soon()), IsOk());
  EXPECT_EQ(Find(sent).state, State::kSent);
  EXPECT_EQ(Find(sent).seq, 7);
  EXPECT_EQ(Find(sent).text, "");
  EXPECT_EQ(tasks_.GetTask(sent.task_id, Soon())->state, TaskState::kSucceeded);
  ASSERT_THAT(
      scheduled_.MarkFailed({chat_, failed.id}, "NOT_A_MEMBER", Claim(failed.task_id), Soon()),
      IsOk());
  EXPECT_EQ(Find(failed).state, State::kFailed);
  EXPECT_EQ(Find(failed).failure_reason, "NOT_A_MEMBER");
  EXPECT_EQ(Find(failed).text, "b");
  EXPECT_EQ(tasks_.GetTask(failed.task_id, Soon())->state, TaskState::kDead);
}

TEST_F(ScheduledMessages, ShowWhatHasBecomeOfTheirTask) {
  const ScheduledMessage dead = Schedule(ann_, "a");
  const ScheduledMessage cancelled = Schedule(ann_, "b");
  ASSERT_THAT(tasks_.EndAttempt(
                  {.lease = Claim(dead.task_id), .kind = AttemptEnd::Kind::kFailedForGood}, Soon()),
              IsOk());
  ASSERT_THAT(tasks_.CancelTask(cancelled.task_id, Soon()), IsOk());
  EXPECT_EQ(Find(dead).state, State::kFailed);
  EXPECT_EQ(Find(dead).failure_reason, "ATTEMPTS_EXHAUSTED");
  EXPECT_EQ(Find(cancelled).state, State::kCancelled);
  EXPECT_EQ(Find(cancelled).text, "");
  EXPECT_THAT(List({.user_id = ann_, .state = State::kFailed}), ElementsAre(dead.id));
  EXPECT_THAT(List({.user_id = ann_, .state = State::kCancelled}), ElementsAre(cancelled.id));
  // The task's end was so long ago that it is forgotten.
  database_.Sql("DELETE FROM task_history");
  EXPECT_EQ(Find(cancelled).state, State::kCancelled);
  EXPECT_EQ(Find(cancelled).text, "");
  EXPECT_THAT(scheduled_.Cancel(cancelled.id, ann_, Soon()), IsOk());
  EXPECT_THAT(scheduled_.Cancel(dead.id, ann_, Soon()),
              StatusIs(StatusCode::kFailedPrecondition, reason::kScheduledMessageEnded));
}

TEST_F(ScheduledMessages, AreListedTheLatestFirst) {
  const std::int64_t one = Schedule(ann_, "1").id;
  Schedule(bob_, "of somebody else");
  const std::int64_t two = Schedule(ann_, "2").id;
  const std::int64_t three = Schedule(ann_, "3").id;
  EXPECT_THAT(List({.user_id = ann_}), ElementsAre(three, two, one));
  EXPECT_THAT(List({.user_id = ann_, .page = {.limit = 2, .offset = 1}}), ElementsAre(two, one));
  EXPECT_THAT(List({.user_id = ann_, .page = {.after = two}}), ElementsAre(one));
  EXPECT_THAT(List({.user_id = ann_, .chat_id = 99}), IsEmpty());
  EXPECT_THAT(List({.user_id = eve_}), IsEmpty());
  const auto page = scheduled_.List({.user_id = ann_, .page = {.limit = 2}}, Soon());
  EXPECT_EQ(page->next, two);
  EXPECT_THAT(scheduled_.List({.user_id = 99}, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kUserNotFound));
}

TEST_F(ScheduledMessages, KeepTheirAuthorFromBeingDeletedAndGoWithTheirChat) {
  const ScheduledMessage scheduled = Schedule(bob_, "x");
  EXPECT_THAT(users_.Delete(bob_, Soon()),
              StatusIs(StatusCode::kFailedPrecondition, reason::kUserHasMessages));
  ASSERT_THAT(chats_.Delete(chat_, Soon()), IsOk());
  EXPECT_FALSE(scheduled_.Find({chat_, scheduled.id}, Soon())->has_value());
  EXPECT_THAT(users_.Delete(bob_, Soon()), IsOk());
}

}  // namespace
}  // namespace parley::db
