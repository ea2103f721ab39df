#include "services/scheduler/waiting_room.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace parley::scheduler {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr absl::Time kStart = absl::UnixEpoch();
constexpr absl::Duration kSecond = absl::Seconds(1);

LeaseDemand Demand(std::vector<std::string> queues, absl::Time give_up = absl::InfiniteFuture()) {
  LeaseDemand demand;
  demand.queues = std::move(queues);
  demand.give_up = give_up;
  demand.check_alive = [] { return absl::OkStatus(); };
  return demand;
}

// Answers all questions of the room alike.
void LearnAll(WaitingRoom& room, absl::Time due) {
  for (const WaitingRoom::Question& question : room.Questions()) room.Learn(question, due);
}

TEST(WaitingRoomTest, AsksAboutQueuesThatNobodyWaitedFor) {
  WaitingRoom room;
  EXPECT_THAT(room.Questions(), IsEmpty());
  room.Enter(Demand({"a", "b"}));
  EXPECT_THAT(room.Questions(), SizeIs(2));
  LearnAll(room, kStart);
  room.Enter(Demand({"a"}));
  EXPECT_THAT(room.Questions(), IsEmpty());
}

TEST(WaitingRoomTest, GivesTheFirstWhoCameForWhatIsDue) {
  WaitingRoom room;
  room.Enter(Demand({"a"}));
  room.Enter(Demand({"b"}));
  room.Enter(Demand({"b", "c"}));
  LearnAll(room, absl::InfiniteFuture());
  EXPECT_EQ(room.NextDue(), absl::InfiniteFuture());
  room.TaskReady("b", kStart + kSecond);
  EXPECT_EQ(room.NextDue(), kStart + kSecond);
  EXPECT_FALSE(room.TakeDue(kStart));
  const auto first = room.TakeDue(kStart + kSecond);
  ASSERT_TRUE(first);
  EXPECT_THAT(first->demand.queues, SizeIs(1));
  EXPECT_THAT(room.TakeDue(kStart + kSecond)->demand.queues, SizeIs(2));
  EXPECT_FALSE(room.TakeDue(kStart + kSecond));
}

TEST(WaitingRoomTest, KeepsTheSeatOfWhoComesBack) {
  WaitingRoom room;
  room.Enter(Demand({"a"}));
  room.Enter(Demand({"a"}));
  LearnAll(room, kStart);
  auto first = room.TakeDue(kStart);
  ASSERT_TRUE(first);
  const std::int64_t arrival = first->arrival;
  first->not_before = kStart + kSecond;
  room.Return(*std::move(first));
  EXPECT_NE(room.TakeDue(kStart)->arrival, arrival);
  room.TaskReady("a", kStart);
  EXPECT_FALSE(room.TakeDue(kStart));
  EXPECT_EQ(room.TakeDue(kStart + kSecond)->arrival, arrival);
}

TEST(WaitingRoomTest, AnAnswerThatAChangeOvertookIsAskedForAgain) {
  WaitingRoom room;
  room.Enter(Demand({"a"}));
  const auto questions = room.Questions();
  room.TaskReady("a", kStart);
  room.Learn(questions.front(), absl::InfiniteFuture());
  EXPECT_EQ(room.NextDue(), kStart);
  EXPECT_THAT(room.Questions(), SizeIs(1));
  LearnAll(room, kStart + kSecond);
  EXPECT_EQ(room.NextDue(), kStart + kSecond);
  EXPECT_THAT(room.Questions(), IsEmpty());
}

TEST(WaitingRoomTest, AHintAsksAndKeepsWhatIsKnown) {
  WaitingRoom room;
  room.Enter(Demand({"a"}));
  room.Enter(Demand({"b"}));
  LearnAll(room, kStart);
  room.Change("a");
  EXPECT_THAT(room.Questions(), SizeIs(1));
  EXPECT_EQ(room.NextDue(), kStart);
  room.ChangeAll();
  EXPECT_THAT(room.Questions(), SizeIs(2));
}

TEST(WaitingRoomTest, AnEmptiedQueueIsNotDueUntilAskedAgain) {
  WaitingRoom room;
  room.Enter(Demand({"a"}));
  LearnAll(room, kStart);
  room.Emptied("a");
  EXPECT_FALSE(room.TakeDue(kStart));
  EXPECT_THAT(room.Questions(), SizeIs(1));
}

TEST(WaitingRoomTest, ForgetsQueuesThatNobodyWaitsFor) {
  WaitingRoom room;
  room.TaskReady("a", kStart);
  room.Enter(Demand({"a"}));
  EXPECT_EQ(room.NextDue(), absl::InfiniteFuture());
  LearnAll(room, kStart);
  ASSERT_TRUE(room.TakeDue(kStart));
  EXPECT_TRUE(room.empty());
  EXPECT_THAT(room.Questions(), IsEmpty());
}

TEST(WaitingRoomTest, LetsThoseGoWhoHaveWaitedEnoughOrLeft) {
  WaitingRoom room;
  bool left = false;
  room.Enter(Demand({"a"}, kStart + kSecond));
  room.Enter(Demand({"a"}));
  LeaseDemand leaver = Demand({"b"});
  leaver.check_alive = [&] { return left ? absl::CancelledError() : absl::OkStatus(); };
  room.Enter(std::move(leaver));
  EXPECT_EQ(room.NextGiveUp(), kStart + kSecond);
  EXPECT_THAT(room.TakeEnded(kStart), IsEmpty());
  EXPECT_THAT(room.TakeEnded(kStart + kSecond), SizeIs(1));
  left = true;
  EXPECT_THAT(room.TakeEnded(kStart + kSecond), SizeIs(1));
  EXPECT_THAT(room.TakeAll(), SizeIs(1));
  EXPECT_TRUE(room.empty());
}

}  // namespace
}  // namespace parley::scheduler
