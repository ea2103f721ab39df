#include "db/repository/message_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

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
using ::testing::Field;
using Direction = MessageRepository::Direction;

class Messages : public ::testing::Test {
 protected:
  absl::StatusOr<Message> Send(std::int64_t user, const std::string& text,
                               const std::string& request_id = "") {
    return messages_.Send({.chat_id = chat_,
                           .user_id = user,
                           .text = text,
                           .request_id = request_id,
                           .fingerprint = text},
                          Soon());
  }

  TempDatabase database_;
  MessageRepository messages_{database_.pool()};
  ChatRepository chats_{database_.pool()};
  UserRepository users_{database_.pool()};
  const std::int64_t ann_ = NewUser(database_.pool(), "ann");
  const std::int64_t bob_ = NewUser(database_.pool(), "bob");
  const std::int64_t eve_ = NewUser(database_.pool(), "eve");
  const std::int64_t chat_ = NewChat(database_.pool(), {ann_, bob_});
};

TEST_F(Messages, AreNumberedFromOneAndReadBack) {
  EXPECT_EQ(Send(ann_, "hello")->seq, 1);
  const auto second = Send(bob_, "😀 'quoted'");
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(second->seq, 2);
  EXPECT_EQ(second->revision, 1);
  for (const MessageKey& key :
       {MessageKey{.id = second->id}, MessageKey{.chat_id = chat_, .seq = 2}}) {
    const auto read = messages_.Get(key, Soon());
    ASSERT_THAT(read, IsOk());
    EXPECT_EQ(read->text, "😀 'quoted'");
    EXPECT_EQ(read->user_id, bob_);
    EXPECT_EQ(read->create_time, second->create_time);
    EXPECT_FALSE(read->deleted);
  }
}

TEST_F(Messages, HaveNoHolesAndNoTwinsWithSixteenSenders) {
  constexpr int kThreads = 16;
  constexpr int kEach = 25;
  RunThreads(kThreads, [&](int thread) {
    for (int i = 0; i < kEach; ++i) {
      ASSERT_THAT(Send(thread % 2 == 0 ? ann_ : bob_, "x"), IsOk());
      // Refused ones in between must not take a number.
      ASSERT_THAT(Send(eve_, "x"), StatusIs(StatusCode::kPermissionDenied, reason::kNotAMember));
    }
  });
  EXPECT_EQ(database_.Sql("SELECT count(*) || ' ' || min(seq) || ' ' || max(seq) FROM messages"),
            "400 1 400");
  EXPECT_EQ(database_.Sql("SELECT last_seq FROM chats"), "400");
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM (SELECT created_at < lag(created_at) OVER "
                          "(ORDER BY seq) AS back FROM messages) AS m WHERE back"),
            "0");
}

TEST_F(Messages, AreWrittenOnceForOneRequestIdFromManyThreads) {
  std::atomic<std::int64_t> sum{0};
  RunThreads(8, [&](int) {
    const auto message = Send(ann_, "once", "r");
    ASSERT_THAT(message, IsOk());
    sum += message->seq;
  });
  EXPECT_EQ(sum, 8);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM messages"), "1");
  EXPECT_THAT(Send(ann_, "other", "r"),
              StatusIs(StatusCode::kAlreadyExists, reason::kRequestIdReused));
  EXPECT_EQ(Send(bob_, "another's", "r")->seq, 2);  // the id belongs to the sender
}

TEST_F(Messages, AreAnsweredByRequestIdAfterTheSenderLeftAndTheMessageIsGone) {
  const auto sent = Send(bob_, "secret", "r");
  ASSERT_THAT(messages_.Delete({.id = sent->id}, bob_, Soon()), IsOk());
  ASSERT_THAT(chats_.RemoveMember(chat_, bob_, Soon()), IsOk());
  const auto replayed = Send(bob_, "secret", "r");
  ASSERT_THAT(replayed, IsOk());
  EXPECT_EQ(replayed->seq, sent->seq);
  EXPECT_TRUE(replayed->deleted);
}

TEST_F(Messages, AreTakenFromActiveMembersOnly) {
  EXPECT_THAT(Send(eve_, "x"), StatusIs(StatusCode::kPermissionDenied, reason::kNotAMember));
  EXPECT_THAT(Send(999, "x"), StatusIs(StatusCode::kPermissionDenied, reason::kNotAMember));
  ASSERT_THAT(users_.Update({.id = bob_, .status = UserStatus::kBlocked}, Soon()), IsOk());
  EXPECT_THAT(Send(bob_, "x"), StatusIs(StatusCode::kPermissionDenied, reason::kUserBlocked));
  EXPECT_THAT(messages_.Send({.chat_id = 999, .user_id = ann_, .text = "x"}, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kChatNotFound));
  EXPECT_EQ(database_.Sql("SELECT last_seq FROM chats"), "0");
}

TEST_F(Messages, AreListedBothWaysWithoutTombstones) {
  for (int i = 1; i <= 6; ++i) ASSERT_THAT(Send(ann_, std::to_string(i)), IsOk());
  ASSERT_THAT(messages_.Delete({.chat_id = chat_, .seq = 4}, ann_, Soon()), IsOk());
  const auto newest = messages_.List({.chat_id = chat_, .page = {.limit = 3}}, Soon());
  ASSERT_THAT(newest, IsOk());
  EXPECT_THAT(newest->rows, ElementsAre(Field(&Message::seq, 6), Field(&Message::seq, 5),
                                        Field(&Message::seq, 3)));
  EXPECT_EQ(newest->next, 3);
  const auto offset = messages_.List({.chat_id = chat_, .page = {.limit = 2, .offset = 2}}, Soon());
  EXPECT_THAT(offset->rows, ElementsAre(Field(&Message::seq, 3), Field(&Message::seq, 2)));
  const auto oldest = messages_.List(
      {.chat_id = chat_, .direction = Direction::kOldestFirst, .page = {.limit = 2, .after = 2}},
      Soon());
  EXPECT_THAT(oldest->rows, ElementsAre(Field(&Message::seq, 3), Field(&Message::seq, 5)));
  const auto none = messages_.List({.chat_id = chat_, .page = {.limit = 2, .after = 1}}, Soon());
  EXPECT_TRUE(none->rows.empty());
  EXPECT_THAT(messages_.List({.chat_id = 999}, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kChatNotFound));
}

TEST_F(Messages, AreEditedByTheirAuthorOnly) {
  const auto sent = Send(bob_, "old");
  const auto edited = messages_.Edit(
      {.key = {.id = sent->id}, .user_id = bob_, .text = "new", .version = 1}, Soon());
  ASSERT_THAT(edited, IsOk());
  EXPECT_EQ(edited->text, "new");
  EXPECT_EQ(edited->revision, 2);
  EXPECT_EQ(edited->version, 2);
  EXPECT_GT(edited->update_time, edited->create_time);
  const auto again =
      messages_.Edit({.key = {.id = sent->id}, .user_id = bob_, .text = "new"}, Soon());
  EXPECT_EQ(again->revision, 2);
  EXPECT_EQ(again->update_time, edited->update_time);
  EXPECT_THAT(messages_.Edit({.key = {.id = sent->id}, .user_id = ann_, .text = "x"}, Soon()),
              StatusIs(StatusCode::kPermissionDenied, reason::kNotPermitted));
  EXPECT_THAT(
      messages_.Edit({.key = {.id = sent->id}, .user_id = bob_, .text = "x", .version = 1}, Soon()),
      StatusIs(StatusCode::kAborted, reason::kEtagMismatch));
  EXPECT_THAT(messages_.Edit({.key = {.id = 999}, .user_id = bob_, .text = "x"}, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kMessageNotFound));
  ASSERT_THAT(messages_.Delete({.id = sent->id}, bob_, Soon()), IsOk());
  EXPECT_THAT(messages_.Edit({.key = {.id = sent->id}, .user_id = bob_, .text = "x"}, Soon()),
              StatusIs(StatusCode::kFailedPrecondition, reason::kMessageDeleted));
}

TEST_F(Messages, LeaveATombstoneWhenTheAuthorOrAnOwnerDeletes) {
  const auto bobs = Send(bob_, "mine");
  const auto anns = Send(ann_, "hers");
  EXPECT_THAT(messages_.Delete({.id = anns->id}, bob_, Soon()),
              StatusIs(StatusCode::kPermissionDenied, reason::kNotPermitted));
  EXPECT_THAT(messages_.Delete({.id = anns->id}, eve_, Soon()),
              StatusIs(StatusCode::kPermissionDenied, reason::kNotPermitted));
  const auto tombstone = messages_.Delete({.id = bobs->id}, ann_, Soon());
  ASSERT_THAT(tombstone, IsOk());
  EXPECT_TRUE(tombstone->deleted);
  EXPECT_EQ(tombstone->text, "");
  EXPECT_EQ(tombstone->seq, bobs->seq);
  const auto again = messages_.Delete({.id = bobs->id}, bob_, Soon());
  EXPECT_EQ(again->version, tombstone->version);
  EXPECT_EQ(again->update_time, tombstone->update_time);
  EXPECT_THAT(messages_.Delete({.chat_id = chat_, .seq = 99}, ann_, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kMessageNotFound));
}

TEST_F(Messages, KeepTheirAuthorFromBeingDeleted) {
  const auto sent = Send(bob_, "x");
  EXPECT_THAT(users_.Delete(bob_, Soon()),
              StatusIs(StatusCode::kFailedPrecondition, reason::kUserHasMessages));
  ASSERT_THAT(messages_.Delete({.id = sent->id}, bob_, Soon()), IsOk());
  EXPECT_THAT(users_.Delete(bob_, Soon()),
              StatusIs(StatusCode::kFailedPrecondition, reason::kUserHasMessages));
}

}  // namespace
}  // namespace parley::db
