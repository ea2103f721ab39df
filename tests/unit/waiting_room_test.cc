#include "services/scheduler/waiting_room.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <list>
#include <string>
#include <utility>
#include <vector>

namespace parley::scheduler {
namespace {

using ::testing::ElementsAre;
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

using Turn = WaitingRoom::Turn;

std::list<WaitingRoom::Waiter> TakeDue(WaitingRoom& room, absl::Time now, std::int32_t max_tasks) {
  return room.TakeDue(now, max_tasks).waiters;
}

// Answers all questions of the room alike.
void LearnAll(WaitingRoom& room, absl::Time due) {
  for (const WaitingRoom::Question& question : room.Questions()) room.Learn(question, {due});
}

// The answer about one queue.
void Learn(WaitingRoom& room, const std::string& queue, const WaitingRoom::Answer& answer) {
  for (const WaitingRoom::Question& question : room.Questions()) {
    if (question.queue == queue) room.Learn(question, answer);
  }
}

// Somebody for whom nothing was found, and who waits; the room is to ask about the queues.
void Sit(WaitingRoom& room, LeaseDemand demand) {
  room.Enter(std::move(demand));
  LearnAll(room, absl::InfiniteFuture());
  for (WaitingRoom::Waiter& waiter : TakeDue(room, absl::InfinitePast(), 1)) {
    waiter.tried = true;
    for (const std::string& queue : waiter.demand.queues) room.Emptied(queue);
    room.Return(std::move(waiter));
  }
}

TEST(WaitingRoomTest, AsksAboutQueuesThatAreNotKnownBeforeAnybodyIsServed) {
  WaitingRoom room;
  EXPECT_THAT(room.Questions(), IsEmpty());
  room.Enter(Demand({"a", "b"}));
  EXPECT_THAT(room.Questions(), SizeIs(2));
  EXPECT_THAT(TakeDue(room, kStart, 1), IsEmpty());
  Learn(room, "a", {kStart});
  EXPECT_THAT(TakeDue(room, kStart, 1), IsEmpty());
  Learn(room, "b", {});
  EXPECT_THAT(room.Questions(), IsEmpty());
  room.Enter(Demand({"a"}));
  EXPECT_THAT(room.Questions(), IsEmpty());
  EXPECT_THAT(TakeDue(room, kStart, 1), SizeIs(1));
  EXPECT_THAT(TakeDue(room, kStart, 1), SizeIs(1));
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
  EXPECT_THAT(TakeDue(room, kStart, 1), IsEmpty());
  const auto first = TakeDue(room, kStart + kSecond, 1);
  ASSERT_THAT(first, SizeIs(1));
  EXPECT_THAT(first.front().demand.queues, SizeIs(1));
  EXPECT_THAT(TakeDue(room, kStart + kSecond, 1).front().demand.queues, SizeIs(2));
  EXPECT_THAT(TakeDue(room, kStart + kSecond, 1), IsEmpty());
}

TEST(WaitingRoomTest, KeepsTheSeatOfWhoComesBack) {
  WaitingRoom room;
  Sit(room, Demand({"a"}));
  Sit(room, Demand({"a"}));
  LearnAll(room, kStart);
  auto first = TakeDue(room, kStart, 1);
  ASSERT_THAT(first, SizeIs(1));
  const std::int64_t arrival = first.front().arrival;
  first.front().not_before = kStart + kSecond;
  room.Return(std::move(first.front()));
  EXPECT_NE(TakeDue(room, kStart, 1).front().arrival, arrival);
  room.TaskReady("a", kStart);
  EXPECT_THAT(TakeDue(room, kStart, 1), IsEmpty());
  EXPECT_EQ(TakeDue(room, kStart + kSecond, 1).front().arrival, arrival);
}

TEST(WaitingRoomTest, AnAnswerThatAChangeOvertookIsAskedForAgain) {
  WaitingRoom room;
  Sit(room, Demand({"a"}));
  const auto questions = room.Questions();
  room.TaskReady("a", kStart);
  room.Learn(questions.front(), {});
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
  EXPECT_THAT(TakeDue(room, kStart, 1), IsEmpty());
  EXPECT_THAT(room.Questions(), SizeIs(1));
}

TEST(WaitingRoomTest, ForgetsQueuesForWhichNobodyHasComeSinceTheLastLook) {
  WaitingRoom room;
  room.TaskReady("a", kStart);  // nobody has come for it yet
  EXPECT_THAT(room.Questions(), IsEmpty());
  Sit(room, Demand({"a"}));
  LearnAll(room, kStart);
  auto taken = TakeDue(room, kStart, 1);
  ASSERT_THAT(taken, SizeIs(1));
  // What happens while he is out is not lost.
  room.Emptied("a");
  room.TaskReady("a", kStart + kSecond);
  room.Return(std::move(taken.front()));
  EXPECT_EQ(room.NextDue(), kStart + kSecond);
  ASSERT_THAT(TakeDue(room, kStart + kSecond, 1), SizeIs(1));
  EXPECT_TRUE(room.empty());
  EXPECT_THAT(room.Questions(), IsEmpty());
  room.ChangeAll();  // he has been there
  room.Enter(Demand({"a"}));
  EXPECT_THAT(TakeDue(room, kStart, 1), SizeIs(1));
  room.ChangeAll();
  room.ChangeAll();
  room.Enter(Demand({"a"}));
  EXPECT_THAT(TakeDue(room, kStart, 1), IsEmpty());  // until it is known again
}

TEST(WaitingRoomTest, AsksOnceAboutLimitsForThoseWhoComeAndGo) {
  WaitingRoom room;
  const auto come_and_go = [&] {
    room.Enter(Demand({"a"}));
    EXPECT_THAT(TakeDue(room, kStart, 1), SizeIs(1));
    room.Emptied("a");
  };
  room.Enter(Demand({"a"}));
  LearnAll(room, kStart);
  EXPECT_THAT(TakeDue(room, kStart, 1), SizeIs(1));
  come_and_go();
  EXPECT_THAT(room.Questions(), IsEmpty());
  room.Change("a");
  EXPECT_THAT(room.Questions(), SizeIs(1));
  LearnAll(room, kStart);
  EXPECT_THAT(room.Questions(), IsEmpty());
  room.ChangeAll();
  EXPECT_THAT(room.Questions(), IsEmpty());  // nobody has come since
  come_and_go();
  const auto questions = room.Questions();
  ASSERT_THAT(questions, SizeIs(1));
  room.TaskReady("a", kStart);  // does not change what limits there are
  room.Learn(questions.front(), {});
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
  LearnAll(room, absl::InfiniteFuture());
  EXPECT_LE(room.NextDue(), kStart);
  EXPECT_THAT(room.TakeEnded(kStart, /*can_serve=*/true), IsEmpty());
  EXPECT_THAT(room.TakeEnded(kStart, /*can_serve=*/false), SizeIs(1));
  room.Enter(Demand({"a"}, kStart));
  auto served = TakeDue(room, kStart, 1);
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
  room.ChangeAll();
  LearnAll(room, kStart);
  std::vector<std::int32_t> taken;
  for (const WaitingRoom::Waiter& waiter : TakeDue(room, kStart, 6)) {
    taken.push_back(waiter.demand.max_tasks);
  }
  EXPECT_EQ(taken, (std::vector<std::int32_t>{3, 2}));
  EXPECT_THAT(TakeDue(room, kStart, 6).front().demand.queues, ElementsAre("b"));
  EXPECT_EQ(TakeDue(room, kStart, 6).front().demand.lease_duration, 2 * kSecond);
  EXPECT_EQ(TakeDue(room, kStart, 3).front().demand.max_tasks, 5);  // the first may want more
  EXPECT_TRUE(room.empty());
}

TEST(WaitingRoomTest, NamesLimitedQueuesOneByOneAndOnlyThoseThatAreDue) {
  WaitingRoom room;
  Sit(room, Demand({"a", "b", "c", "d"}));
  Learn(room, "a", {.due = absl::InfiniteFuture()});
  Learn(room, "b", {.due = kStart, .limited = true});
  Learn(room, "c", {.due = kStart});
  Learn(room, "d", {.due = kStart + kSecond, .limited = true});
  Turn turn = room.TakeDue(kStart, 1);
  ASSERT_THAT(turn.waiters, SizeIs(1));
  EXPECT_THAT(turn.unlimited, ElementsAre("a", "c"));
  EXPECT_THAT(turn.limited, ElementsAre("b"));

  room.Emptied("b");
  room.Emptied("c");
  room.Return(std::move(turn.waiters.front()));
  EXPECT_THAT(TakeDue(room, kStart, 1), IsEmpty());
  turn = room.TakeDue(kStart + kSecond, 1);
  EXPECT_THAT(turn.unlimited, IsEmpty());
  EXPECT_THAT(turn.limited, ElementsAre("d"));
}

TEST(WaitingRoomTest, LooksIntoAllQueuesForWhoHasJustCome) {
  WaitingRoom room;
  Sit(room, Demand({"a", "b"}));
  Learn(room, "a", {.due = kStart});
  Learn(room, "b", {.limited = true});
  room.Enter(Demand({"a", "b"}));
  const Turn turn = room.TakeDue(kStart, 10);
  EXPECT_THAT(turn.waiters, SizeIs(2));
  EXPECT_THAT(turn.unlimited, ElementsAre("a"));
  EXPECT_THAT(turn.limited, ElementsAre("b"));
}

TEST(WaitingRoomTest, WhileNothingMayRunNothingIsDueWhateverComesIn) {
  WaitingRoom room;
  Sit(room, Demand({"a"}));
  Learn(room, "a", {.due = kStart, .open = absl::InfiniteFuture(), .limited = true});
  EXPECT_TRUE(room.IsLimited("a"));
  room.TaskReady("a", kStart);
  EXPECT_EQ(room.NextDue(), absl::InfiniteFuture());
  EXPECT_THAT(room.Questions(), IsEmpty());
  room.Change("a");
  Learn(room, "a", {.due = kStart, .open = kStart + kSecond, .limited = true});
  EXPECT_EQ(room.NextDue(), kStart + kSecond);
  EXPECT_THAT(TakeDue(room, kStart, 1), IsEmpty());
  EXPECT_THAT(room.TakeDue(kStart + kSecond, 1).limited, ElementsAre("a"));
}

TEST(WaitingRoomTest, OnlyWhoWantsTheSameKindOfTokenGetsItTogether) {
  WaitingRoom room;
  for (const char* prefix : {"", "70757368aaaaaaaa", "70757368bbbbbbbb"}) {
    LeaseDemand demand = Demand({"a"});
    demand.token_prefix = prefix;
    Sit(room, std::move(demand));
  }
  room.ChangeAll();
  LearnAll(room, kStart);
  for (int i = 0; i < 3; ++i) EXPECT_THAT(TakeDue(room, kStart, 10), SizeIs(1));
}

}  // namespace
}  // namespace parley::scheduler
