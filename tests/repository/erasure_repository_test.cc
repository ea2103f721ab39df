#include "db/repository/erasure_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "base/random_token.h"
#include "db/repository/chat_repository.h"
#include "db/repository/message_repository.h"
#include "db/repository/scheduled_message_repository.h"
#include "db/repository/user_repository.h"
#include "tests/support/await.h"
#include "tests/support/people.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

using absl::StatusCode;
using parley::testing::Await;
using parley::testing::IsOk;
using parley::testing::IsOkAndHolds;
using parley::testing::NewChat;
using parley::testing::NewUser;
using parley::testing::Soon;
using parley::testing::StatusIs;
using parley::testing::TempDatabase;

class Erasures : public ::testing::Test {
 protected:
  Message Send(std::int64_t chat, std::int64_t user, const std::string& text,
               const std::string& request_id = "") {
    return messages_
        .Send({.chat_id = chat,
               .user_id = user,
               .text = text,
               .request_id = request_id,
               .fingerprint = text},
              Soon())
        .value();
  }
  ScheduledMessage Schedule(std::int64_t user, const std::string& request_id = "") {
    return scheduled_
        .Schedule({.chat_id = chat_,
                   .user_id = user,
                   .text = "later",
                   .run_time = absl::Now() + absl::Hours(1),
                   .request_id = request_id,
                   .fingerprint = "f"},
                  Soon())
        .value();
  }
  Message Get(std::int64_t id) {
    return Await<absl::StatusOr<Message>>(
               [&](auto done) { messages_.Get({.id = id}, Soon(), std::move(done)); })
        .value();
  }
  LeaseKey Claim(std::int64_t task_id) {
    const std::string token = NewRandomToken();
    database_.Sql(absl::StrCat("UPDATE tasks SET state = 'running', attempt = attempt + 1, ",
                               "lease_until = now() + interval '1 h', lease_token = '", token,
                               "' WHERE id = ", task_id));
    return {task_id, token};
  }
  std::string Role(std::int64_t user) {
    return database_.Sql(absl::StrCat("SELECT role FROM chat_user WHERE chat_id = ", chat_,
                                      " AND user_id = ", user));
  }
  void RedactAll(std::int64_t user) {
    ErasureRepository::Place place;
    for (bool more = true; more;) more = erasures_.Redact(user, place, Soon()).value();
  }

  TempDatabase database_;
  ErasureRepository erasures_{database_.pool()};
  UserRepository users_{database_.pool()};
  ChatRepository chats_{database_.pool()};
  MessageRepository messages_{database_.pool()};
  ScheduledMessageRepository scheduled_{database_.pool()};
  TaskRepository tasks_{database_.pool()};
  const std::int64_t ann_ = NewUser(database_.pool(), "ann");
  const std::int64_t bob_ = NewUser(database_.pool(), "bob");
  const std::int64_t eve_ = NewUser(database_.pool(), "eve");
  const std::int64_t chat_ = NewChat(database_.pool(), {ann_, bob_, eve_});
};

TEST_F(Erasures, TakeTheUsersNamesAwayAtOnce) {
  ASSERT_THAT(users_.Update({.id = ann_, .set_name = true, .name = "Ann"}, Soon()), IsOk());
  ASSERT_THAT(users_.SetPassword(ann_, "hash", Soon()), IsOk());
  database_.Sql(absl::StrCat("INSERT INTO legacy_passwords VALUES (", ann_, ", 'plain', false)"));
  const User before = users_.Get(ann_, Soon()).value();
  Send(chat_, ann_, "x");
  const auto begun = erasures_.Begin(ann_, Soon());
  ASSERT_THAT(begun, IsOk());
  EXPECT_EQ(begun->user_id, ann_);
  EXPECT_EQ(begun->messages_erased, 0);
  EXPECT_EQ(begun->messages_remaining, 1);
  EXPECT_FALSE(begun->finish_time);
  const auto task = tasks_.GetTask(begun->task_id, Soon());
  EXPECT_EQ(task->queue, kEraseUserQueue);
  EXPECT_EQ(ErasureRepository::UserOf(*task), ann_);
  const auto user = users_.Get(ann_, Soon());
  EXPECT_EQ(user->login, absl::StrCat("erased-", ann_));
  EXPECT_FALSE(user->name);
  EXPECT_EQ(user->status, UserStatus::kBlocked);
  EXPECT_EQ(user->version, before.version + 1);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM users WHERE password_hash IS NOT NULL"), "0");
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM legacy_passwords"), "0");
  EXPECT_NE(NewUser(database_.pool(), "ann"), ann_);  // the login is free again
  EXPECT_THAT(users_.GetByLogin(user->login, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kUserNotFound));
}

TEST_F(Erasures, AreForGood) {
  ASSERT_THAT(erasures_.Begin(ann_, Soon()), IsOk());
  EXPECT_THAT(users_.Update({.id = ann_, .status = UserStatus::kActive}, Soon()),
              StatusIs(StatusCode::kFailedPrecondition, reason::kUserErased));
  EXPECT_THAT(users_.SetPassword(ann_, "hash", Soon()),
              StatusIs(StatusCode::kFailedPrecondition, reason::kUserErased));
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM users WHERE password_hash IS NOT NULL"), "0");
}

TEST_F(Erasures, AreFoundAgainAndGoOnWithANewTaskIfTheirsHasEnded) {
  EXPECT_THAT(erasures_.Get(ann_, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kErasureNotFound));
  EXPECT_THAT(erasures_.Begin(99, Soon()), StatusIs(StatusCode::kNotFound, reason::kUserNotFound));
  const auto first = erasures_.Begin(ann_, Soon());
  EXPECT_EQ(erasures_.Begin(ann_, Soon())->task_id, first->task_id);
  EXPECT_EQ(users_.Get(ann_, Soon())->version, 2);
  ASSERT_THAT(tasks_.CancelTask(first->task_id, Soon()), IsOk());
  EXPECT_EQ(erasures_.Get(ann_, Soon())->last_error, "ATTEMPTS_EXHAUSTED");
  const auto second = erasures_.Begin(ann_, Soon());
  EXPECT_NE(second->task_id, first->task_id);
  EXPECT_EQ(second->last_error, "");
  EXPECT_EQ(second->create_time, first->create_time);
}

TEST_F(Erasures, TellWhatKeepsThemFromGoingOn) {
  const auto begun = erasures_.Begin(ann_, Soon());
  ASSERT_THAT(tasks_.EndAttempt({.lease = Claim(begun->task_id), .error = "CONTENTION"}, Soon()),
              IsOk());
  EXPECT_EQ(erasures_.Get(ann_, Soon())->last_error, "CONTENTION");
  Claim(begun->task_id);
  database_.Sql("UPDATE tasks SET lease_until = now() - interval '1 s'");
  ASSERT_THAT(tasks_.RescueExpired(10, Soon()), IsOk());
  EXPECT_EQ(erasures_.Get(ann_, Soon())->last_error, "LEASE_LOST");
}

TEST_F(Erasures, HandAChatWithoutOwnerToTheLongestStandingAdminElseMember) {
  database_.Sql("UPDATE chat_user SET joined_at = now() - user_id * interval '1 h'");
  database_.Sql(absl::StrCat("UPDATE chat_user SET role = 'admin' WHERE user_id = ", bob_));
  for (const std::int64_t user : {ann_, bob_}) {
    ASSERT_THAT(erasures_.LeaveChat(user, Soon()), IsOkAndHolds(true));
    EXPECT_THAT(erasures_.LeaveChat(user, Soon()), IsOkAndHolds(false));
    EXPECT_EQ(Role(user), "");
    EXPECT_EQ(Role(user == ann_ ? bob_ : eve_), "owner");
  }
  EXPECT_EQ(chats_.Get(chat_, Soon())->user_count, 1);
  EXPECT_EQ(database_.Sql("SELECT user_count FROM chats"), "1");
  ASSERT_THAT(erasures_.LeaveChat(eve_, Soon()), IsOkAndHolds(true));
  EXPECT_EQ(database_.Sql("SELECT user_count FROM chats"), "0");
}

TEST_F(Erasures, LeaveAChatWithAnotherOwnerAsItIs) {
  database_.Sql(absl::StrCat("UPDATE chat_user SET role = 'owner' WHERE user_id = ", eve_));
  ASSERT_THAT(erasures_.LeaveChat(ann_, Soon()), IsOkAndHolds(true));
  EXPECT_EQ(Role(bob_), "member");
}

TEST_F(Erasures, CancelWhatIsScheduledAndWipeItsText) {
  const ScheduledMessage pending = Schedule(ann_);
  const ScheduledMessage failed = Schedule(ann_);
  const ScheduledMessage running = Schedule(ann_);
  const ScheduledMessage bobs = Schedule(bob_);
  ASSERT_THAT(scheduled_.MarkFailed({chat_, failed.id}, "X", Claim(failed.task_id), Soon()),
              IsOk());
  const LeaseKey lease = Claim(running.task_id);
  ASSERT_THAT(erasures_.WipeScheduled(ann_, Soon()), IsOkAndHolds(true));
  EXPECT_THAT(erasures_.WipeScheduled(ann_, Soon()), IsOkAndHolds(false));
  EXPECT_EQ(database_.Sql("SELECT string_agg(state || ':' || text, ' ' ORDER BY id) "
                          "FROM scheduled_messages"),
            "cancelled: failed: cancelled: scheduled:later");
  EXPECT_EQ(tasks_.GetTask(pending.task_id, Soon())->state, TaskState::kCancelled);
  EXPECT_EQ(tasks_.GetTask(bobs.task_id, Soon())->state, TaskState::kPending);
  // Who was sending it at that moment ends the task all the same.
  ASSERT_THAT(scheduled_.MarkSent({chat_, running.id}, 1, lease, Soon()), IsOk());
  EXPECT_EQ(scheduled_.Find({chat_, running.id}, Soon())->value().state,
            ScheduledMessageState::kCancelled);
}

TEST_F(Erasures, LeaveTombstonesWithoutRevisionsAndRequestIdsAndNumberThem) {
  const std::int64_t other = NewChat(database_.pool(), {ann_, bob_});
  const Message first = Send(chat_, ann_, "one", "r1");
  const Message tombstone = Send(chat_, ann_, "gone", "r2");
  Send(chat_, bob_, "two", "r3");
  Send(other, ann_, "three");
  ASSERT_THAT(messages_.Delete({.id = tombstone.id}, ann_, Soon()), IsOk());
  const Message deleted = Get(tombstone.id);
  const std::string before =
      database_.Sql(absl::StrCat("SELECT last_event FROM chats WHERE id = ", chat_));
  database_.Sql(absl::StrCat("INSERT INTO message_revisions VALUES (", chat_, ", ", first.seq,
                             ", 1, 'old', now())"));
  database_.Sql("UPDATE messages SET search = to_tsvector('simple', text) WHERE NOT deleted");
  ASSERT_THAT(erasures_.Begin(ann_, Soon()), IsOk());
  RedactAll(ann_);
  EXPECT_EQ(database_.Sql(absl::StrCat(
                "SELECT count(*) FROM messages WHERE user_id = ", ann_,
                " AND deleted AND text = '' AND search IS NULL AND request_id IS NULL")),
            "3");
  EXPECT_EQ(database_.Sql("SELECT text || ':' || request_id FROM messages WHERE NOT deleted"),
            "two:r3");
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM message_revisions"), "0");
  const Message redacted = Get(first.id);
  EXPECT_EQ(redacted.version, first.version + 1);
  EXPECT_GE(redacted.update_time, first.update_time);
  EXPECT_EQ(Get(tombstone.id).version, deleted.version);
  EXPECT_EQ(database_.Sql(absl::StrCat("SELECT string_agg((event - ", before,
                                       ") || ':' || seq || ':' || kind, ' ' ORDER BY chat_id) ",
                                       "FROM message_events WHERE event > ", before,
                                       " OR chat_id = ", other)),
            "1:1:deleted 0:1:deleted");
  EXPECT_EQ(
      database_.Sql(absl::StrCat("SELECT last_event - ", before, " FROM chats WHERE id = ", chat_)),
      "1");
  EXPECT_EQ(erasures_.Get(ann_, Soon())->messages_erased, 2);
  EXPECT_EQ(erasures_.Get(ann_, Soon())->messages_remaining, 0);
  RedactAll(ann_);  // again changes nothing
  EXPECT_EQ(erasures_.Get(ann_, Soon())->messages_erased, 2);
  EXPECT_EQ(database_.Sql(absl::StrCat("SELECT last_event FROM chats WHERE id = ", other)), "1");
}

TEST_F(Erasures, TakeAtMostFiveHundredMessagesAStep) {
  database_.Sql(absl::StrCat(
      "INSERT INTO messages (chat_id, seq, user_id, text) SELECT ", chat_, ", n, ", ann_,
      ", 'x' FROM generate_series(1, 1200) AS n; UPDATE chats SET last_seq = 1200"));
  ASSERT_THAT(erasures_.Begin(ann_, Soon()), IsOk());
  ErasureRepository::Place place;
  for (const std::int64_t erased : {500, 1000, 1200}) {
    ASSERT_THAT(erasures_.Redact(ann_, place, Soon()), IsOkAndHolds(true));
    EXPECT_EQ(erasures_.Get(ann_, Soon())->messages_erased, erased);
  }
  EXPECT_THAT(erasures_.Redact(ann_, place, Soon()), IsOkAndHolds(false));
  EXPECT_EQ(database_.Sql("SELECT count(*) || ' ' || max(event) FROM message_events"), "1200 1200");
}

TEST_F(Erasures, EndWithTheirTaskAndForgetTheRequests) {
  const auto created = users_.Create(
      {.login = "zoe", .login_key = "zoe", .request_id = "zoe-1", .fingerprint = "f"}, Soon());
  const std::int64_t zoe = created->id;
  const auto chat = chats_.Create({.creator_user_id = zoe,
                                   .title = "t",
                                   .user_ids = {zoe},
                                   .request_id = "chat-1",
                                   .fingerprint = "f"},
                                  Soon());
  ASSERT_THAT(scheduled_.Schedule({.chat_id = chat->id,
                                   .user_id = zoe,
                                   .text = "x",
                                   .run_time = absl::Now(),
                                   .request_id = "later-1",
                                   .fingerprint = "f"},
                                  Soon()),
              IsOk());
  Schedule(ann_, "stays");
  const auto begun = erasures_.Begin(zoe, Soon());
  EXPECT_THAT(erasures_.Finish(zoe, {begun->task_id, std::string(32, '0')}, Soon()),
              StatusIs(StatusCode::kAborted, reason::kLeaseLost));
  EXPECT_FALSE(erasures_.Get(zoe, Soon())->finish_time);
  ASSERT_THAT(erasures_.ForgetRequests(zoe, Soon()), IsOkAndHolds(true));
  EXPECT_THAT(erasures_.ForgetRequests(zoe, Soon()), IsOkAndHolds(false));
  ASSERT_THAT(erasures_.Finish(zoe, Claim(begun->task_id), Soon()), IsOk());
  EXPECT_TRUE(erasures_.Get(zoe, Soon())->finish_time);
  EXPECT_EQ(tasks_.GetTask(begun->task_id, Soon())->state, TaskState::kSucceeded);
  EXPECT_EQ(database_.Sql("SELECT string_agg(request_id, ' ') FROM requests"),
            absl::StrCat(chat_, " stays"));
  EXPECT_EQ(erasures_.Begin(zoe, Soon())->task_id, begun->task_id);
}

}  // namespace
}  // namespace parley::db
