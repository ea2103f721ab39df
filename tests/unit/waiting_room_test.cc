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

// Somebody who was tried in vain, and waits.
void Sit(WaitingRoom& room, LeaseDemand demand) {
  room.Enter(std::move(demand));
  for (WaitingRoom::Waiter& waiter : room.TakeDue(absl::InfinitePast(), 1)) {
    waiter.tried = true;
    room.Return(std::move(waiter));
  }
}

// Answers all questions of the room alike.
void LearnAll(WaitingRoom& room, absl::Time due) {
  for (const WaitingRoom::Question& question : room.Questions()) room.Learn(question, due);
}

TEST(WaitingRoomTest, AsksAboutQueuesThatNobodyWaitedFor) {
  WaitingRoom room;
  EXPECT_THAT(room.Questions(), IsEmpty());
  Sit(room, Demand({"a", "b"}));
  EXPECT_THAT(room.Questions(), SizeIs(2));
  LearnAll(room, kStart);
  Sit(room, Demand({"a"}));
  EXPECT_THAT(room.Questions(), IsEmpty());
}

TEST(WaitingRoomTest, GivesTheFirstWhoCameForWhatIsDue) {
  WaitingRoom room;
  Sit(room, Demand({"a"}));
  Sit(room, Demand({"b"}));
  Sit(room, Demand({"b", "c"}));
  LearnAll(room, absl::InfiniteFuture());
  EXPECT_EQ(room.NextDue(), absl::InfiniteFuture());
  room.TaskReady("b", kStart + kSecond);
  EXPECT_EQ(room.NextDue(), kStart + kSecond);
  EXPECT_THAT(room.TakeDue(kStart, 1), IsEmpty());
  const auto first = room.TakeDue(kStart + kSecond, 1);
  ASSERT_THAT(first, SizeIs(1));
  EXPECT_THAT(first.front().demand.queues, SizeIs(1));
  EXPECT_THAT(room.TakeDue(kStart + kSecond, 1).front().demand.queues, SizeIs(2));
  EXPECT_THAT(room.TakeDue(kStart + kSecond, 1), IsEmpty());
}

TEST(WaitingRoomTest, KeepsTheSeatOfWhoComesBack) {
  WaitingRoom room;
  Sit(room, Demand({"a"}));
  Sit(room, Demand({"a"}));
  LearnAll(room, kStart);
  auto first = room.TakeDue(kStart, 1);
  ASSERT_THAT(first, SizeIs(1));
  const std::int64_t arrival = first.front().arrival;
  first.front().not_before = kStart + kSecond;
  room.Return(std::move(first.front()));
  EXPECT_NE(room.TakeDue(kStart, 1).front().arrival, arrival);
  room.TaskReady("a", kStart);
  EXPECT_THAT(room.TakeDue(kStart, 1), IsEmpty());
  EXPECT_EQ(room.TakeDue(kStart + kSecond, 1).front().arrival, arrival);
}

TEST(WaitingRoomTest, AnAnswerThatAChangeOvertookIsAskedForAgain) {
  WaitingRoom room;
  Sit(room, Demand({"a"}));
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
  Sit(room, Demand({"a"}));
  Sit(room, Demand({"b"}));
  LearnAll(room, kStart);
  room.Change("a");
  EXPECT_THAT(room.Questions(), SizeIs(1));
  EXPECT_EQ(room.NextDue(), kStart);
  room.ChangeAll();
  EXPECT_THAT(room.Questions(), SizeIs(2));
}

TEST(WaitingRoomTest, AnEmptiedQueueIsNotDueUntilAskedAgain) {
  WaitingRoom room;
  Sit(room, Demand({"a"}));
  LearnAll(room, kStart);
  room.Emptied("a");
  EXPECT_THAT(room.TakeDue(kStart, 1), IsEmpty());
  EXPECT_THAT(room.Questions(), SizeIs(1));
}

TEST(WaitingRoomTest, ForgetsQueuesThatNobodyWaitsFor) {
  WaitingRoom room;
  room.TaskReady("a", kStart);
  Sit(room, Demand({"a"}));
  EXPECT_EQ(room.NextDue(), absl::InfiniteFuture());
  LearnAll(room, kStart);
  ASSERT_THAT(room.TakeDue(kStart, 1), SizeIs(1));
  EXPECT_TRUE(room.empty());
  EXPECT_THAT(room.Questions(), IsEmpty());
}

TEST(WaitingRoomTest, LetsThoseGoWhoHaveWaitedEnoughOrLeft) {
  WaitingRoom room;
  bool left = false;
  Sit(room, Demand({"a"}, kStart + kSecond));
  Sit(room, Demand({"a"}));
  LeaseDemand leaver = Demand({"b"});
  leaver.check_alive = [&] { return left ? absl::CancelledError() : absl::OkStatus(); };
  room.Enter(std::move(leaver));
  EXPECT_EQ(room.NextGiveUp(), kStart + kSecond);
  EXPECT_THAT(room.TakeEnded(kStart, true), IsEmpty());
  EXPECT_THAT(room.TakeEnded(kStart + kSecond, true), SizeIs(1));
  left = true;
  EXPECT_THAT(room.TakeEnded(kStart + kSecond, true), SizeIs(1));
  EXPECT_THAT(room.TakeAll(), SizeIs(1));
  EXPECT_TRUE(room.empty());
}

TEST(WaitingRoomTest, ServesWhoHasJustComeBeforeItGivesUp) {
  WaitingRoom room;
  room.Enter(Demand({"a"}, kStart));
  EXPECT_LE(room.NextDue(), kStart);
  EXPECT_THAT(room.TakeEnded(kStart, /*can_serve=*/true), IsEmpty());
  EXPECT_THAT(room.TakeEnded(kStart, /*can_serve=*/false), SizeIs(1));
  room.Enter(Demand({"a"}, kStart));
  auto served = room.TakeDue(kStart, 1);
  ASSERT_THAT(served, SizeIs(1));
  served.front().tried = true;
  room.Return(std::move(served.front()));
  EXPECT_THAT(room.TakeEnded(kStart, /*can_serve=*/true), SizeIs(1));
}

TEST(WaitingRoomTest, GivesThoseTogetherWhoWantTheSameAndNoMoreThanItMay) {
  WaitingRoom room;
  const auto sit = [&](std::vector<std::string> queues, std::int32_t max_tasks,
                       absl::Duration lease = kSecond) {
    LeaseDemand demand = Demand(std::move(queues));
    demand.max_tasks = max_tasks;
    demand.lease_duration = lease;
    Sit(room, std::move(demand));
  };
  sit({"a"}, 3);
  sit({"b"}, 1);
  sit({"a"}, 1, 2 * kSecond);
  sit({"a"}, 5);
  sit({"a"}, 2);
  LearnAll(room, kStart);
  std::vector<std::int32_t> taken;
  for (const WaitingRoom::Waiter& waiter : room.TakeDue(kStart, 6)) {
    taken.push_back(waiter.demand.max_tasks);
  }
  EXPECT_EQ(taken, (std::vector<std::int32_t>{3, 2}));
  EXPECT_THAT(room.TakeDue(kStart, 6).front().demand.queues, ::testing::ElementsAre("b"));
  EXPECT_EQ(room.TakeDue(kStart, 6).front().demand.lease_duration, 2 * kSecond);
  EXPECT_EQ(room.TakeDue(kStart, 3).front().demand.max_tasks, 5);  // the first may want more
  EXPECT_TRUE(room.empty());
}

}  // namespace
}  // namespace parley::scheduler
