#include "db/repository/message_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "tests/support/await.h"
#include "tests/support/people.h"
#include "tests/support/run_threads.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

using absl::StatusCode;
using parley::testing::Await;
using parley::testing::IsOk;
using parley::testing::NewChat;
using parley::testing::NewUser;
using parley::testing::RunThreads;
using parley::testing::Soon;
using parley::testing::StatusIs;
using parley::testing::TempDatabase;
using ::testing::ElementsAre;
using ::testing::Field;
using Anchor = MessageRepository::Anchor;
using ListParams = MessageRepository::ListParams;
using MessagePage = MessageRepository::MessagePage;

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

  absl::StatusOr<Message> Get(const MessageKey& key) {
    return Await<absl::StatusOr<Message>>(
        [&](auto done) { messages_.Get(key, Soon(), std::move(done)); });
  }
  absl::StatusOr<MessagePage> List(ListParams params) {
    if (params.chat_id == 0) params.chat_id = chat_;
    return Await<absl::StatusOr<MessagePage>>(
        [&](auto done) { messages_.List(params, Soon(), std::move(done)); });
  }
  std::vector<std::int64_t> Seqs(const ListParams& params) {
    std::vector<std::int64_t> seqs;
    const MessageRepository::MessagePage page = List(params).value();
    for (const Message& message : page.rows) seqs.push_back(message.seq);
    return seqs;
  }
  SendOp::Outcomes SendAll(std::vector<SendParams> sends) {
    return Await<SendOp::Outcomes>(
        [&](auto done) { messages_.Send(std::move(sends), Soon(), std::move(done)); });
  }
  std::int64_t Unread(std::int64_t user) {
    return Await<absl::StatusOr<std::vector<UnreadCount>>>([&](auto done) {
             messages_.GetUnreadCounts(user, {chat_}, Soon(), std::move(done));
           })
        .value()
        .at(0)
        .unread;
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
    const auto read = Get(key);
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
  const auto newest = List({.limit = 3});
  ASSERT_THAT(newest, IsOk());
  EXPECT_THAT(newest->rows, ElementsAre(Field(&Message::seq, 6), Field(&Message::seq, 5),
                                        Field(&Message::seq, 3)));
  EXPECT_EQ(newest->next, 3);
  EXPECT_THAT(Seqs({.limit = 3, .show_deleted = true}), ElementsAre(6, 5, 4));
  EXPECT_THAT(Seqs({.limit = 2, .offset = 2}), ElementsAre(3, 2));
  EXPECT_THAT(Seqs({.limit = 2, .offset = 2, .show_deleted = true}), ElementsAre(4, 3));
  EXPECT_THAT(Seqs({.anchor = Anchor::kAfter, .seq = 2, .limit = 2}), ElementsAre(3, 5));
  EXPECT_THAT(Seqs({.anchor = Anchor::kBefore, .seq = 1}), ElementsAre());
  EXPECT_THAT(Seqs({.offset = std::numeric_limits<std::int64_t>::max()}), ElementsAre());
  EXPECT_THAT(Seqs({.anchor = Anchor::kAfter, .offset = std::numeric_limits<std::int64_t>::max()}),
              ElementsAre());
  EXPECT_THAT(List({.chat_id = 999}), StatusIs(StatusCode::kNotFound, reason::kChatNotFound));
  EXPECT_THAT(List({.chat_id = 999, .offset = 1}),
              StatusIs(StatusCode::kNotFound, reason::kChatNotFound));
  EXPECT_THAT(List({.chat_id = 999, .anchor = Anchor::kBeforeTime}),
              StatusIs(StatusCode::kNotFound, reason::kChatNotFound));
}

// Every offset, both ways, from several starts, over runs and scatterings of tombstones, against
// what counting gives.
TEST_F(Messages, AreFoundAtAnyOffsetWhateverWasDeleted) {
  constexpr std::int64_t kCount = 60;
  std::vector<SendParams> sends(kCount, {.chat_id = chat_, .user_id = ann_, .text = "x"});
  SendAll(sends);
  database_.Sql(
      "UPDATE messages SET deleted = true, text = '', search = NULL WHERE seq IN (60, 59, 55) OR "
      "seq BETWEEN 20 AND 35 OR seq % 7 = 0 OR seq < 3; UPDATE chats SET first_seq = 2");
  std::vector<std::int64_t> visible;  // newest first
  for (std::int64_t seq = kCount; seq >= 2; --seq) {
    if (Get({.chat_id = chat_, .seq = seq})->deleted) continue;
    visible.push_back(seq);
  }
  for (const std::int64_t start : {61L, 58L, 30L, 3L}) {
    std::vector<std::int64_t> below;
    std::vector<std::int64_t> above;
    for (const std::int64_t seq : visible) {
      if (seq < start) below.push_back(seq);
      if (seq > kCount - start) above.insert(above.begin(), seq);
    }
    for (std::int64_t offset = 0; offset <= kCount; ++offset) {
      const auto expected = [&](const std::vector<std::int64_t>& all) {
        const auto from = std::min<std::size_t>(all.size(), static_cast<std::size_t>(offset));
        const auto to = std::min(all.size(), from + 3);
        return std::vector<std::int64_t>(all.begin() + static_cast<std::ptrdiff_t>(from),
                                         all.begin() + static_cast<std::ptrdiff_t>(to));
      };
      ASSERT_EQ(Seqs({.anchor = Anchor::kBefore, .seq = start, .limit = 3, .offset = offset}),
                expected(below))
          << start << " " << offset;
      ASSERT_EQ(
          Seqs({.anchor = Anchor::kAfter, .seq = kCount - start, .limit = 3, .offset = offset}),
          expected(above))
          << start << " " << offset;
    }
  }
}

// Whole blocks of seqs are counted beforehand: by deletions, and by nobody else.
TEST_F(Messages, AreFoundAtAnyOffsetOverManyBlocksOfTombstones) {
  constexpr std::int64_t kCount = 70'000;  // more than four blocks
  database_.Sql(absl::StrCat("INSERT INTO messages (chat_id, seq, user_id, text) SELECT ", chat_,
                             ", n, ", ann_, ", 'x' FROM generate_series(1, ", kCount,
                             ") AS n; UPDATE chats SET last_seq = ", kCount));
  std::set<std::int64_t> deleted;
  for (std::int64_t seq = 7; seq <= kCount; seq = seq * 21 / 20 + 1) deleted.insert(seq);
  for (const std::int64_t edge : {16'383, 16'384, 32'767, 32'768, 65'535, 65'536}) {
    deleted.insert(edge);
  }
  for (const std::int64_t seq : deleted) {
    ASSERT_THAT(messages_.Delete({.chat_id = chat_, .seq = seq}, ann_, Soon()), IsOk());
  }
  EXPECT_EQ(database_.Sql("SELECT sum(tombstones) FROM tombstone_blocks"),
            absl::StrCat(deleted.size()));
  std::vector<std::int64_t> live;
  for (std::int64_t seq = 1; seq <= kCount; ++seq) {
    if (!deleted.contains(seq)) live.push_back(seq);
  }
  const auto all = static_cast<std::int64_t>(live.size());
  for (const std::int64_t offset : {std::int64_t{1}, std::int64_t{4'000}, std::int64_t{16'384},
                                    std::int64_t{40'000}, all - 1}) {
    const auto at = static_cast<std::size_t>(offset);
    EXPECT_THAT(Seqs({.limit = 1, .offset = offset}), ElementsAre(live[live.size() - 1 - at]));
    EXPECT_THAT(Seqs({.anchor = Anchor::kAfter, .limit = 1, .offset = offset}),
                ElementsAre(live[at]));
    // From the middle of a block.
    const auto start =
        static_cast<std::size_t>(std::lower_bound(live.begin(), live.end(), 50'000) - live.begin());
    if (at < start) {
      EXPECT_THAT(Seqs({.anchor = Anchor::kBefore, .seq = 50'000, .limit = 1, .offset = offset}),
                  ElementsAre(live[start - 1 - at]));
    }
    if (start + at < live.size()) {
      EXPECT_THAT(Seqs({.anchor = Anchor::kAfter, .seq = 49'999, .limit = 1, .offset = offset}),
                  ElementsAre(live[start + at]));
    }
  }
  EXPECT_THAT(Seqs({.offset = all}), ElementsAre());
}

TEST_F(Messages, AreListedAroundASeq) {
  for (int i = 1; i <= 10; ++i) ASSERT_THAT(Send(ann_, "x"), IsOk());
  ASSERT_THAT(messages_.Delete({.chat_id = chat_, .seq = 5}, ann_, Soon()), IsOk());
  EXPECT_THAT(Seqs({.anchor = Anchor::kAround, .seq = 5, .limit = 4}), ElementsAre(7, 6, 4, 3));
  EXPECT_THAT(Seqs({.anchor = Anchor::kAround, .seq = 6, .limit = 3}), ElementsAre(7, 6, 4));
  EXPECT_THAT(Seqs({.anchor = Anchor::kAround, .seq = 1, .limit = 4}), ElementsAre(4, 3, 2, 1));
  EXPECT_THAT(Seqs({.anchor = Anchor::kAround, .seq = 99, .limit = 3}), ElementsAre(10, 9, 8));
  EXPECT_EQ(List({.anchor = Anchor::kAround, .seq = 6, .limit = 3})->next, 4);
  EXPECT_FALSE(List({.anchor = Anchor::kAround, .seq = 1, .limit = 4})->next.has_value());
}

TEST_F(Messages, AreListedBeforeATime) {
  for (int i = 1; i <= 9; ++i) ASSERT_THAT(Send(ann_, "x"), IsOk());
  // Equal times, as messages of one commit have them.
  database_.Sql(
      "UPDATE messages SET created_at = timestamptz '2026-01-01 00:00:00Z' + "
      "((seq + 1) / 2) * interval '1 minute'");
  const absl::Time base = absl::FromCivil(absl::CivilMinute(2026, 1, 1, 0, 0), absl::UTCTimeZone());
  const auto before = [&](absl::Duration after_base) {
    return Seqs({.anchor = Anchor::kBeforeTime, .before_time = base + after_base, .limit = 2});
  };
  EXPECT_THAT(before(absl::Minutes(1)), ElementsAre());
  EXPECT_THAT(before(absl::Minutes(1) + absl::Microseconds(1)), ElementsAre(2, 1));
  EXPECT_THAT(before(absl::Minutes(3)), ElementsAre(4, 3));
  EXPECT_THAT(before(absl::Hours(1)), ElementsAre(9, 8));
  EXPECT_THAT(before(-absl::Hours(1)), ElementsAre());
}

TEST_F(Messages, OfABatchFailAloneAndLeaveNoHole) {
  const std::int64_t other = NewChat(database_.pool(), {bob_});
  const auto outcomes = SendAll({
      {.chat_id = chat_, .user_id = ann_, .text = "1", .request_id = "r", .fingerprint = "1"},
      {.chat_id = chat_, .user_id = eve_, .text = "no"},
      {.chat_id = 999, .user_id = ann_, .text = "no"},
      {.chat_id = other, .user_id = bob_, .text = "1"},
      {.chat_id = chat_, .user_id = bob_, .text = "2", .reply_to_seq = 77},
      {.chat_id = chat_, .user_id = ann_, .text = "1", .request_id = "r", .fingerprint = "1"},
      {.chat_id = chat_, .user_id = ann_, .text = "x", .request_id = "r", .fingerprint = "x"},
      {.chat_id = chat_, .user_id = bob_, .text = "2"},
  });
  EXPECT_EQ(outcomes[0]->seq, 1);
  EXPECT_THAT(outcomes[1], StatusIs(StatusCode::kPermissionDenied, reason::kNotAMember));
  EXPECT_THAT(outcomes[2], StatusIs(StatusCode::kNotFound, reason::kChatNotFound));
  EXPECT_EQ(outcomes[3]->seq, 1);
  EXPECT_THAT(outcomes[4], StatusIs(StatusCode::kNotFound, reason::kMessageNotFound));
  EXPECT_EQ(outcomes[5]->id, outcomes[0]->id);
  EXPECT_THAT(outcomes[6], StatusIs(StatusCode::kAlreadyExists, reason::kRequestIdReused));
  EXPECT_EQ(outcomes[7]->seq, 2);
  EXPECT_EQ(database_.Sql("SELECT string_agg(last_seq::text, ' ' ORDER BY id) FROM chats"), "2 1");
  const auto reply = SendAll({{.chat_id = chat_, .user_id = ann_, .text = "3", .reply_to_seq = 2}});
  ASSERT_THAT(reply[0], IsOk());
  EXPECT_EQ(Get({.id = reply[0]->id})->reply_to_seq, 2);
}

TEST_F(Messages, KeepWhatTheySaidUntilTheyAreDeleted) {
  const auto sent = Send(bob_, "one");
  const MessageKey key{.id = sent->id};
  ASSERT_THAT(messages_.Edit({.key = key, .user_id = bob_, .text = "two"}, Soon()), IsOk());
  ASSERT_THAT(messages_.Edit({.key = key, .user_id = bob_, .text = "three"}, Soon()), IsOk());
  const auto revisions = messages_.ListRevisions(key, {.limit = 2}, Soon());
  ASSERT_THAT(revisions, IsOk());
  EXPECT_THAT(revisions->rows, ElementsAre(Field(&MessageRevision::text, "three"),
                                           Field(&MessageRevision::text, "two")));
  const auto rest = messages_.ListRevisions(key, {.limit = 2, .after = revisions->next}, Soon());
  EXPECT_THAT(rest->rows, ElementsAre(Field(&MessageRevision::text, "one")));
  EXPECT_EQ(rest->rows[0].create_time, sent->create_time);
  EXPECT_EQ(database_.Sql("SELECT search::text FROM messages"), "'three':1");
  ASSERT_THAT(messages_.Delete(key, bob_, Soon()), IsOk());
  EXPECT_TRUE(messages_.ListRevisions(key, {}, Soon())->rows.empty());
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM message_revisions"), "0");
  EXPECT_EQ(database_.Sql("SELECT search IS NULL AND text = '' FROM messages"), "t");
  EXPECT_EQ(database_.Sql("SELECT string_agg(kind || event, ' ' ORDER BY event) "
                          "FROM message_events"),
            "updated1 updated2 deleted3");
}

TEST_F(Messages, AreUnreadUntilReadUnlessOwnDeletedOrFromBefore) {
  ASSERT_THAT(Send(ann_, "before carl"), IsOk());
  const std::int64_t carl = NewUser(database_.pool(), "carl");
  ASSERT_THAT(chats_.AddMember({.chat_id = chat_, .user_id = carl}, Soon()), IsOk());
  EXPECT_EQ(Unread(carl), 0);
  EXPECT_EQ(Unread(bob_), 1);
  ASSERT_THAT(Send(ann_, "2"), IsOk());
  ASSERT_THAT(Send(carl, "3"), IsOk());
  ASSERT_THAT(Send(bob_, "4"), IsOk());
  ASSERT_THAT(Send(carl, "5"), IsOk());
  EXPECT_EQ(Unread(carl), 2);
  EXPECT_EQ(Unread(bob_), 4);
  ASSERT_THAT(messages_.Delete({.chat_id = chat_, .seq = 4}, bob_, Soon()), IsOk());
  EXPECT_EQ(Unread(carl), 1);
  EXPECT_EQ(Unread(bob_), 4);  // an own one that is deleted is left out once
  ASSERT_THAT(messages_.MarkRead(chat_, carl, 2, Soon()), IsOk());
  EXPECT_EQ(Unread(carl), 0);
  ASSERT_THAT(messages_.MarkRead(chat_, bob_, 3, Soon()), IsOk());
  EXPECT_EQ(Unread(bob_), 1);
  ASSERT_THAT(messages_.MarkRead(chat_, bob_, 1, Soon()), IsOk());  // never back
  EXPECT_EQ(Unread(bob_), 1);
  ASSERT_THAT(messages_.MarkRead(chat_, bob_, 1'000'000, Soon()), IsOk());  // never beyond
  EXPECT_EQ(database_.Sql("SELECT max(read_seq) FROM chat_user"), "5");
  ASSERT_THAT(Send(ann_, "6"), IsOk());
  EXPECT_EQ(Unread(bob_), 1);
  // Where retention has moved beyond the mark, own messages are counted from there.
  EXPECT_EQ(Unread(ann_), 2);  // 3, 5
  database_.Sql("UPDATE chats SET first_seq = 4");
  EXPECT_EQ(Unread(ann_), 1);  // 5
  EXPECT_THAT(messages_.MarkRead(chat_, eve_, 1, Soon()),
              StatusIs(StatusCode::kPermissionDenied, reason::kNotAMember));
  EXPECT_THAT(messages_.MarkRead(999, eve_, 1, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kChatNotFound));
}

TEST_F(Messages, BelowTheFloorAreNotThere) {
  for (int i = 1; i <= 5; ++i) ASSERT_THAT(Send(ann_, "x"), IsOk());
  database_.Sql("UPDATE chats SET first_seq = 4");
  EXPECT_THAT(Seqs({}), ElementsAre(5, 4));
  EXPECT_THAT(Seqs({.offset = 1}), ElementsAre(4));
  EXPECT_THAT(Seqs({.anchor = Anchor::kAfter}), ElementsAre(4, 5));
  EXPECT_THAT(Seqs({.anchor = Anchor::kAfter, .offset = 1}), ElementsAre(5));
  EXPECT_THAT(Get({.chat_id = chat_, .seq = 3}),
              StatusIs(StatusCode::kNotFound, reason::kMessageNotFound));
  EXPECT_THAT(
      messages_.Edit({.key = {.chat_id = chat_, .seq = 3}, .user_id = ann_, .text = "y"}, Soon()),
      StatusIs(StatusCode::kNotFound, reason::kMessageNotFound));
  EXPECT_THAT(SendAll({{.chat_id = chat_, .user_id = ann_, .text = "x", .reply_to_seq = 3}})[0],
              StatusIs(StatusCode::kNotFound, reason::kMessageNotFound));
}

TEST_F(Messages, WaitForALockedChatWithoutKeepingOthersWaiting) {
  const std::int64_t other = NewChat(database_.pool(), {ann_});
  parley::testing::SqlConnection blocker(database_.dsn());
  blocker.Run("BEGIN; SELECT 1 FROM chats WHERE id = " + std::to_string(chat_) + " FOR UPDATE");
  std::promise<SendOp::Outcomes> locked;
  messages_.Send({{.chat_id = chat_, .user_id = ann_, .text = "1"}}, Soon(),
                 [&](SendOp::Outcomes outcomes) { locked.set_value(std::move(outcomes)); });
  // In the same lane or not, others get through.
  for (int i = 0; i < 20; ++i) {
    ASSERT_THAT(messages_.Send({.chat_id = other, .user_id = ann_, .text = "x"}, Soon()), IsOk());
    ASSERT_THAT(messages_.Send({.chat_id = chat_, .user_id = ann_, .text = "late"},
                               absl::Now() + absl::Milliseconds(20)),
                ::testing::Not(IsOk()));
  }
  blocker.Run("COMMIT");
  EXPECT_EQ(locked.get_future().get()[0]->seq, 1);
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
