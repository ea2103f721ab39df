#include "db/repository/event_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "db/core/listener.h"
#include "db/repository/notifier.h"
#include "tests/support/people.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

using absl::StatusCode;
using parley::testing::IsOk;
using parley::testing::IsOkAndHolds;
using parley::testing::NewChat;
using parley::testing::NewUser;
using parley::testing::Soon;
using parley::testing::StatusIs;
using parley::testing::TempDatabase;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class Events : public ::testing::Test {
 protected:
  // Messages up to `seq`, each with this text.
  void FillTo(std::int64_t seq, const std::string& text = "x") {
    database_.Sql(absl::StrCat(
        "INSERT INTO messages (chat_id, seq, user_id, text) SELECT ", chat_, ", n, ", ann_, ", '",
        text, "' FROM chats, generate_series(last_seq + 1, ", seq, ") AS n WHERE id = ", chat_,
        "; UPDATE chats SET last_seq = ", seq, " WHERE id = ", chat_));
  }
  void Change(std::int64_t seq, const std::string& kind) {
    database_.Sql(absl::StrCat("UPDATE chats SET last_event = last_event + 1 WHERE id = ", chat_,
                               "; INSERT INTO message_events (chat_id, event, seq, kind) SELECT id,"
                               " last_event, ",
                               seq, ", '", kind, "' FROM chats WHERE id = ", chat_));
  }

  // What a batch holds: "+1" sent, "~1" updated, "-1" deleted; then where it ends.
  std::vector<std::string> Read(ChatPosition after, std::int64_t limit = 500,
                                std::size_t max_bytes = 256 * 1024) {
    const auto batch = events_.Read(
        {.chat_id = chat_, .after = after, .limit = limit, .max_bytes = max_bytes}, Soon());
    EXPECT_THAT(batch, IsOk());
    std::vector<std::string> read;
    for (const MessageEvent& event : batch->events) {
      const char* const sign = event.kind == MessageEvent::Kind::kSent      ? "+"
                               : event.kind == MessageEvent::Kind::kUpdated ? "~"
                                                                            : "-";
      read.push_back(absl::StrCat(sign, event.message.seq));
    }
    read.push_back(
        absl::StrCat(batch->end.seq, ",", batch->end.event, batch->more ? " and more" : ""));
    return read;
  }

  TempDatabase database_;
  EventRepository events_{database_.pool()};
  const std::int64_t ann_ = NewUser(database_.pool(), "ann");
  const std::int64_t bob_ = NewUser(database_.pool(), "bob");
  const std::int64_t chat_ = NewChat(database_.pool(), {ann_});
};

TEST_F(Events, AreMessagesFirstAndThenTheirChanges) {
  EXPECT_THAT(Read({0, 0}), ElementsAre("0,0"));
  FillTo(3);
  Change(2, "updated");
  Change(1, "deleted");
  Change(2, "updated");
  EXPECT_THAT(Read({0, 0}), ElementsAre("+1", "+2", "+3", "~2", "-1", "~2", "3,3"));
  EXPECT_THAT(Read({2, 1}), ElementsAre("+3", "-1", "~2", "3,3"));
  EXPECT_THAT(Read({3, 3}), ElementsAre("3,3"));
  // A position beyond the chat's stays.
  EXPECT_THAT(Read({9, 9}), ElementsAre("9,9"));
  EXPECT_THAT(events_.Read({.chat_id = chat_ + 1000}, Soon()),
              StatusIs(StatusCode::kNotFound, "CHAT_NOT_FOUND"));
}

TEST_F(Events, OfMessagesThatAreYetToBeShownWaitAndKeepTheirOrder) {
  FillTo(5);
  Change(1, "updated");
  Change(5, "updated");
  Change(2, "updated");
  EXPECT_THAT(Read({0, 0}, 2), ElementsAre("+1", "+2", "~1", "2,1 and more"));
  EXPECT_THAT(Read({2, 1}, 2), ElementsAre("+3", "+4", "4,1 and more"));
  EXPECT_THAT(Read({4, 1}, 2), ElementsAre("+5", "~5", "~2", "5,3"));
}

TEST_F(Events, AreCutByWeightButNeverToNothing) {
  FillTo(3, std::string(1000, 'x'));
  Change(1, "updated");
  EXPECT_THAT(Read({0, 0}, 500, 10), ElementsAre("+1", "1,0 and more"));
  EXPECT_THAT(Read({1, 0}, 500, 2500), ElementsAre("+2", "+3", "3,0 and more"));
  EXPECT_THAT(Read({3, 0}, 500, 10), ElementsAre("~1", "3,1"));
}

TEST_F(Events, ThatRetentionHidesOrHasRemovedAreLeftOut) {
  FillTo(5);
  for (const std::int64_t seq : {1, 4, 2}) Change(seq, "updated");
  database_.Sql("UPDATE chats SET first_seq = 4");
  EXPECT_THAT(Read({0, 0}), ElementsAre("+4", "+5", "~4", "5,3"));
  database_.Sql("DELETE FROM messages WHERE seq < 4");
  EXPECT_THAT(Read({0, 0}), ElementsAre("+4", "+5", "~4", "5,3"));
  EXPECT_THAT(Read({0, 0}, 1), ElementsAre("+4", "~4", "4,2 and more"));
  database_.Sql("DELETE FROM messages; UPDATE chats SET first_seq = 6");
  EXPECT_THAT(Read({0, 0}), ElementsAre("5,3"));
}

TEST_F(Events, MoveChatsOn) {
  const std::int64_t quiet = NewChat(database_.pool(), {ann_});
  const std::int64_t gone = quiet + 1000;
  FillTo(2);
  Change(1, "deleted");
  const auto positions = events_.FindPositions({chat_, quiet, gone}, Soon());
  ASSERT_THAT(positions, IsOk());
  EXPECT_THAT(*positions, SizeIs(2));
  EXPECT_EQ(positions->at(chat_), (ChatPosition{2, 1}));
  EXPECT_EQ(positions->at(quiet), (ChatPosition{0, 0}));
  const auto moved = [&](ChatPosition known) {
    return events_.FindMoved({{quiet, {0, 0}}, {chat_, known}, {gone, {0, 0}}}, Soon());
  };
  EXPECT_THAT(moved({1, 1}), IsOkAndHolds(ElementsAre(chat_)));
  EXPECT_THAT(moved({2, 0}), IsOkAndHolds(ElementsAre(chat_)));
  EXPECT_THAT(moved({2, 1}), IsOkAndHolds(IsEmpty()));
}

TEST_F(Events, BeginForAMemberAtTheJoining) {
  FillTo(2);
  Change(1, "updated");
  ChatRepository chats(database_.pool());
  ASSERT_THAT(chats.AddMember({.chat_id = chat_, .user_id = bob_}, Soon()), IsOk());
  FillTo(3);
  const auto of_bob = events_.ListMemberships({bob_, bob_ + 1000}, Soon());
  ASSERT_THAT(of_bob, IsOkAndHolds(SizeIs(1)));
  EXPECT_EQ(of_bob->front().chat_id, chat_);
  EXPECT_EQ(of_bob->front().joined, (ChatPosition{2, 1}));
  EXPECT_THAT(events_.FindMembers(chat_, {ann_, bob_, bob_ + 1000}, Soon()),
              IsOkAndHolds(SizeIs(2)));
  ASSERT_THAT(chats.RemoveMember(chat_, bob_, Soon()), IsOk());
  EXPECT_THAT(events_.FindMembers(chat_, {bob_}, Soon()), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(events_.FindUsers({ann_, bob_ + 1000}, Soon()), IsOkAndHolds(ElementsAre(ann_)));
}

TEST_F(Events, AreToldToWhoListens) {
  Mutex mutex;
  CondVar changed;
  std::vector<std::string> heard;  // the first is the listener's own
  const Listener listener(database_.dsn(), kMessageChannel, [&](absl::string_view payload) {
    MutexLock lock(mutex);
    heard.emplace_back(payload);
    changed.NotifyAll();
  });
  const auto wait_for = [&](std::size_t count) {
    const absl::Time deadline = Soon();
    MutexLock lock(mutex);
    while (heard.size() < count && absl::Now() < deadline) changed.WaitUntil(mutex, deadline);
    return heard;
  };
  wait_for(1);
  {
    Notifier notifier(database_.pool(), kMessageChannel);
    notifier.Notify(7);
    EXPECT_EQ(wait_for(2).back(), "7");
    // Sent at the end at the latest, together, and told once.
    notifier.Notify(8);
    notifier.Notify(8);
  }
  EXPECT_EQ(wait_for(3).back(), "8");
  // What does not fit into a notification means: look at all. What comes before and after may fit.
  {
    Notifier notifier(database_.pool(), kMessageChannel);
    constexpr std::int64_t kFirst = 1'000'000'000'000'000;
    for (std::int64_t id = kFirst; id < kFirst + 20'000; ++id) notifier.Notify(id);
  }
  for (std::size_t count = 4; wait_for(count).at(count - 1) != ""; ++count) ASSERT_LT(count, 40U);
}

TEST(IdsOfHint, AreNoneIfItMayBeAny) {
  EXPECT_THAT(IdsOfHint("1,2"), ElementsAre(1, 2));
  EXPECT_THAT(IdsOfHint(""), IsEmpty());
  EXPECT_THAT(IdsOfHint("1,x"), IsEmpty());
}

}  // namespace
}  // namespace parley::db
