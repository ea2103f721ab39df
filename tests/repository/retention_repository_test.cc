#include "db/repository/retention_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "db/repository/chat_repository.h"
#include "db/repository/message_repository.h"
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
using parley::testing::IsOkAndHolds;
using parley::testing::NewChat;
using parley::testing::NewUser;
using parley::testing::RunThreads;
using parley::testing::Soon;
using parley::testing::StatusIs;
using parley::testing::TempDatabase;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Tended = RetentionRepository::Tended;

class Retention : public ::testing::Test {
 protected:
  absl::StatusOr<Message> Send(const std::string& text, const std::string& request_id = "") {
    return messages_.Send({.chat_id = chat_,
                           .user_id = ann_,
                           .text = text,
                           .request_id = request_id,
                           .fingerprint = text},
                          Soon());
  }
  // Sends `count` messages and makes all but the last `young` of them two hours old.
  void Fill(int count, int young) {
    std::vector<SendParams> many;
    for (int i = 1; i <= count; ++i) {
      many.push_back({.chat_id = chat_, .user_id = ann_, .text = absl::StrCat("message ", i)});
    }
    const auto sent = Await<SendOp::Outcomes>(
        [&](auto done) { messages_.Send(std::move(many), Soon(), std::move(done)); });
    for (const absl::StatusOr<Message>& one : sent) ASSERT_THAT(one, IsOk());
    MakeOld(count - young);
  }
  void MakeOld(int last_seq) {
    database_.Sql(
        absl::StrCat("UPDATE messages SET created_at = created_at - interval '2 hours',"
                     " updated_at = created_at - interval '2 hours' WHERE seq <= ",
                     last_seq));
  }
  absl::StatusOr<Chat> Keep(std::optional<absl::Duration> retention) {
    return chats_.Update({.id = chat_, .set_retention = true, .retention = retention}, Soon());
  }
  std::vector<std::int64_t> Seqs(const MessageRepository::ListParams& asked = {}) {
    MessageRepository::ListParams params = asked;
    params.chat_id = chat_;
    const auto page = Await<absl::StatusOr<MessageRepository::MessagePage>>(
        [&](auto done) { messages_.List(params, Soon(), std::move(done)); });
    std::vector<std::int64_t> seqs;
    for (const Message& message : page.value().rows) seqs.push_back(message.seq);
    return seqs;
  }
  std::string Stored() { return database_.Sql("SELECT count(*) FROM messages"); }
  // As soon as it would be without the rest in between.
  Tended TendNow() {
    database_.Sql("UPDATE chats SET purge_at = now() WHERE purge_at IS NOT NULL");
    return retention_.Tend(chat_, Soon()).value();
  }
  void TendAll() {
    while (TendNow() != Tended::kRested) {
    }
  }

  TempDatabase database_;
  RetentionRepository retention_{database_.pool()};
  ChatRepository chats_{database_.pool()};
  MessageRepository messages_{database_.pool()};
  const std::int64_t ann_ = NewUser(database_.pool(), "ann");
  const std::int64_t bob_ = NewUser(database_.pool(), "bob");
  const std::int64_t chat_ = NewChat(database_.pool(), {ann_, bob_});
};

TEST_F(Retention, HidesAtOnceAndRemovesLater) {
  Fill(10, 3);
  const auto kept = Keep(absl::Hours(1));
  ASSERT_THAT(kept, IsOk());
  EXPECT_EQ(kept->retention, absl::Hours(1));
  EXPECT_THAT(Seqs(), ElementsAre(10, 9, 8));
  EXPECT_THAT(Seqs({.anchor = MessageRepository::Anchor::kAfter}), ElementsAre(8, 9, 10));
  EXPECT_THAT(Seqs({.anchor = MessageRepository::Anchor::kAfter, .offset = 2}), ElementsAre(10));
  EXPECT_THAT(Seqs({.offset = 3}), IsEmpty());
  EXPECT_EQ(Stored(), "10");
  EXPECT_THAT(retention_.FindChats(10, Soon()), IsOkAndHolds(ElementsAre(chat_)));
  EXPECT_THAT(retention_.Tend(chat_, Soon()), IsOkAndHolds(Tended::kPurged));
  EXPECT_EQ(Stored(), "3");
  EXPECT_THAT(retention_.Tend(chat_, Soon()), IsOkAndHolds(Tended::kRested));
  EXPECT_THAT(retention_.FindChats(10, Soon()), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(Seqs(), ElementsAre(10, 9, 8));
  const auto next = Send("next");
  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next->seq, 11);  // numbers are never used again
}

TEST_F(Retention, RemovesFromTheBottomInBatches) {
  static_assert(RetentionRepository::kSteps * RetentionRepository::kStepRows == 5000);
  Fill(5600, 1);
  ASSERT_THAT(Keep(absl::Hours(1)), IsOk());
  EXPECT_EQ(TendNow(), Tended::kPurged);
  EXPECT_EQ(database_.Sql("SELECT min(seq) || ' ' || count(*) FROM messages"), "5001 600");
  EXPECT_EQ(TendNow(), Tended::kPurged);
  EXPECT_EQ(Stored(), "1");
  EXPECT_EQ(TendNow(), Tended::kRested);
}

TEST_F(Retention, TakesRevisionsAndChangesAlong) {
  Fill(3, 0);
  ASSERT_THAT(
      messages_.Edit({.key = {.chat_id = chat_, .seq = 1}, .user_id = ann_, .text = "new"}, Soon()),
      IsOk());
  ASSERT_THAT(messages_.Delete({.chat_id = chat_, .seq = 2}, ann_, Soon()), IsOk());
  ASSERT_THAT(Keep(absl::Hours(1)), IsOk());
  TendAll();
  EXPECT_EQ(Stored(), "0");
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM message_revisions"), "0");
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM message_events"), "0");
  EXPECT_THAT(Seqs(), IsEmpty());
}

TEST_F(Retention, DoesNotBringBackWhatItHas) {
  Fill(3, 1);
  ASSERT_THAT(Keep(absl::Hours(1)), IsOk());
  ASSERT_THAT(Keep(absl::Hours(1000)), IsOk());
  EXPECT_THAT(Seqs(), ElementsAre(3));
  const auto forever = Keep(std::nullopt);
  ASSERT_THAT(forever, IsOk());
  EXPECT_EQ(forever->retention, std::nullopt);
  EXPECT_THAT(Seqs(), ElementsAre(3));
  // What was hidden is removed all the same, and then the chat is left alone.
  EXPECT_THAT(retention_.Tend(chat_, Soon()), IsOkAndHolds(Tended::kPurged));
  EXPECT_THAT(retention_.Tend(chat_, Soon()), IsOkAndHolds(Tended::kRested));
  EXPECT_EQ(database_.Sql("SELECT purge_at IS NULL FROM chats"), "t");
  EXPECT_EQ(Stored(), "1");
}

TEST_F(Retention, ChangesTheEtagOnlyIfItChanges) {
  const Chat before = chats_.Get(chat_, Soon()).value();
  const Chat kept = Keep(absl::Hours(1)).value();
  EXPECT_GT(kept.version, before.version);
  EXPECT_EQ(Keep(absl::Hours(1))->version, kept.version);
  EXPECT_EQ(chats_.Update({.id = chat_, .title = "chat"}, Soon())->retention, absl::Hours(1));
}

TEST_F(Retention, NeverSendsARepeatAgain) {
  ASSERT_THAT(Send("once", "r"), IsOk());
  MakeOld(1);
  ASSERT_THAT(Keep(absl::Hours(1)), IsOk());
  for (const char* const when : {"hidden", "removed"}) {
    SCOPED_TRACE(when);
    EXPECT_THAT(Send("once", "r"), StatusIs(StatusCode::kNotFound, reason::kMessageExpired));
    EXPECT_THAT(Send("other", "r"), StatusIs(StatusCode::kAlreadyExists, reason::kRequestIdReused));
    TendAll();
    EXPECT_EQ(Stored(), "0");
  }
  const auto next = Send("once", "r2");
  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next->seq, 2);
}

TEST_F(Retention, RestsUntilTheOldestExpires) {
  Fill(2, 2);
  ASSERT_THAT(Keep(absl::Hours(10)), IsOk());
  EXPECT_EQ(TendNow(), Tended::kRested);
  EXPECT_EQ(database_.Sql("SELECT purge_at = (SELECT created_at FROM messages WHERE seq = 1)"
                          " + interval '10 hours' FROM chats"),
            "t");
  // Not for less than a thousandth of the retention.
  MakeOld(1);
  database_.Sql("UPDATE messages SET created_at = now() - interval '9:59:59' WHERE seq = 1");
  EXPECT_EQ(TendNow(), Tended::kRested);
  EXPECT_EQ(database_.Sql("SELECT purge_at BETWEEN now() + interval '30 seconds'"
                          " AND now() + interval '36 seconds' FROM chats"),
            "t");
}

TEST_F(Retention, OfAnEmptyChatRests) {
  ASSERT_THAT(Keep(absl::Hours(10)), IsOk());
  EXPECT_EQ(TendNow(), Tended::kRested);
  EXPECT_EQ(database_.Sql("SELECT purge_at > now() + interval '9 hours' FROM chats"), "t");
}

TEST_F(Retention, LeavesAChatThatIsLockedToOthers) {
  Fill(2, 1);
  ASSERT_THAT(Keep(absl::Hours(1)), IsOk());
  parley::testing::SqlConnection other(database_.dsn());
  other.Run(absl::StrCat("BEGIN; SELECT 1 FROM chats WHERE id = ", chat_, " FOR NO KEY UPDATE"));
  EXPECT_THAT(retention_.Tend(chat_, Soon()), IsOkAndHolds(Tended::kByOthers));
  other.Run("ROLLBACK");
  EXPECT_THAT(retention_.Tend(chat_, Soon()), IsOkAndHolds(Tended::kPurged));
}

TEST_F(Retention, WorksBesideItselfAndSenders) {
  Fill(2000, 0);
  ASSERT_THAT(Keep(absl::Hours(1)), IsOk());
  std::atomic<bool> done = false;
  RunThreads(4, [&](int thread) {
    if (thread == 0) {
      for (int i = 0; i < 100; ++i) ASSERT_THAT(Send(absl::StrCat("young ", i)), IsOk());
      done = true;
    } else if (thread == 1) {
      while (!done) {
        const auto changed =
            messages_.Delete({.chat_id = chat_, .seq = 2000}, ann_, Soon()).status();
        ASSERT_TRUE(changed.ok() || absl::IsNotFound(changed)) << changed;
      }
    } else {
      while (!done || retention_.FindChats(1, Soon()).value() == std::vector<std::int64_t>{chat_}) {
        ASSERT_THAT(retention_.Tend(chat_, Soon()), IsOk());
      }
    }
  });
  TendAll();
  EXPECT_EQ(database_.Sql("SELECT min(seq) || ' ' || max(seq) || ' ' || count(*) FROM messages"),
            "2001 2100 100");
  EXPECT_EQ(Seqs({.limit = 200}).size(), 100U);
}

}  // namespace
}  // namespace parley::db
