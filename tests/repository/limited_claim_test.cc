// Claims from queues that limit what runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "base/random_token.h"
#include "db/repository/queue_repository.h"
#include "tests/repository/task_fixture.h"
#include "tests/support/run_threads.h"
#include "tests/support/status_matchers.h"

namespace parley::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class LimitedClaimTest : public TaskRepositoryTest {
 protected:
  void Limit(const QueueSettings& settings) {
    const QueueChange change = {.max_running = settings.max_running,
                                .max_running_per_key = settings.max_running_per_key,
                                .rate_limit = settings.rate_limit};
    ASSERT_THAT(queues_.Update({.name = "q", .change = change}, Deadline()), IsOk());
  }

  std::int64_t Put(const std::string& key = "", std::int32_t priority = 0) {
    NewTask task = MakeTask();
    task.concurrency_key = key;
    task.priority = priority;
    return TryCreate(task)->id;
  }
  std::vector<std::int64_t> PutMany(int count, const std::string& key = "") {
    std::vector<std::int64_t> ids;
    for (int i = 0; i < count; ++i) ids.push_back(Put(key));
    return ids;
  }

  Claimed ClaimLimited(std::int32_t max_tasks = 100) {
    Claimed claimed{absl::StrFormat("%032x", ++tokens_), {}};
    auto claim =
        claimer_.ClaimLimited({"q", max_tasks, absl::Minutes(1), claimed.token}, Deadline());
    EXPECT_THAT(claim, IsOk());
    if (claim.ok()) claimed.tasks = *std::move(claim);
    return claimed;
  }
  std::vector<std::int64_t> ClaimIds(std::int32_t max_tasks = 100) {
    return Ids(ClaimLimited(max_tasks).tasks);
  }

  db::TaskClaimer::NextDue Next() {
    const auto next = claimer_.FindNextDue({"q"}, Deadline());
    EXPECT_THAT(next, IsOkAndHolds(SizeIs(1)));
    return next.ok() && next->size() == 1 ? next->front() : db::TaskClaimer::NextDue();
  }
  // When a claim may find something.
  absl::Duration ClaimIn() {
    const db::TaskClaimer::NextDue next = Next();
    return std::max(next.due_in, next.open_in);
  }
  bool IsDue() { return ClaimIn() <= absl::ZeroDuration(); }
  bool IsNeverDue() { return ClaimIn() == absl::InfiniteDuration(); }

  std::string Blocked() { return database_.Sql("SELECT count(*) FROM tasks WHERE blocked"); }

  db::QueueRepository queues_{database_.pool()};
};

TEST_F(LimitedClaimTest, EachKindOfQueueIsClaimedFromInItsOwnWay) {
  const std::int64_t id = Put();
  EXPECT_FALSE(Next().limited);
  EXPECT_TRUE(IsDue());
  EXPECT_THAT(ClaimIds(), IsEmpty());
  Limit({.max_running = 5});
  EXPECT_TRUE(Next().limited);
  EXPECT_TRUE(IsDue());
  EXPECT_THAT(Claim({"q"}).tasks, IsEmpty());
  EXPECT_THAT(ClaimIds(), ElementsAre(id));
}

TEST_F(LimitedClaimTest, NoMoreRunThanMay) {
  Limit({.max_running = 3});
  std::vector<std::int64_t> ids = PutMany(6);
  EXPECT_TRUE(IsDue());
  EXPECT_THAT(ClaimIds(2), ElementsAre(ids[0], ids[1]));
  const Claimed third = ClaimLimited();
  EXPECT_THAT(Ids(third.tasks), ElementsAre(ids[2]));
  EXPECT_THAT(ClaimIds(), IsEmpty());
  EXPECT_TRUE(IsNeverDue());
  ASSERT_THAT(Ack({ids[2], third.token}), IsOk());
  EXPECT_TRUE(IsDue());
  EXPECT_THAT(ClaimIds(), ElementsAre(ids[3]));
  Limit({.max_running = 5});
  EXPECT_TRUE(IsDue());
  EXPECT_THAT(ClaimIds(), ElementsAre(ids[4], ids[5]));
  // Fewer than run already.
  Limit({.max_running = 1});
  PutMany(1);
  EXPECT_THAT(ClaimIds(), IsEmpty());
  EXPECT_TRUE(IsNeverDue());
}

TEST_F(LimitedClaimTest, TasksThatEndInAnyWayMakeRoom) {
  Limit({.max_running = 1, .max_running_per_key = 1});
  PutMany(4, "k");
  using Kind = AttemptEnd::Kind;
  for (const Kind kind : {Kind::kReleased, Kind::kAbandoned, Kind::kFailed, Kind::kFailedForGood}) {
    const Claimed claimed = ClaimLimited();
    ASSERT_THAT(claimed.tasks, SizeIs(1));
    EXPECT_TRUE(IsNeverDue());
    const auto moved = tasks_.EndAttempts(
        {{.lease = {claimed.tasks[0].id, claimed.token}, .kind = kind}}, Deadline());
    ASSERT_THAT(moved, IsOkAndHolds(SizeIs(1)));
    EXPECT_TRUE(moved->front().queue_limited);
    EXPECT_TRUE(IsDue());
  }
  ClaimLimited();
  ExpireLeases();
  const auto rescued = tasks_.RescueExpired(10, Deadline());
  ASSERT_THAT(rescued, IsOkAndHolds(SizeIs(1)));
  EXPECT_TRUE(rescued->front().queue_limited);
  EXPECT_TRUE(IsDue());
  Limit({});
  const Claimed unlimited = Claim({"q"});
  const auto moved =
      tasks_.EndAttempts({{.lease = {unlimited.tasks.at(0).id, unlimited.token}}}, Deadline());
  ASSERT_THAT(moved, IsOkAndHolds(SizeIs(1)));
  EXPECT_FALSE(moved->front().queue_limited);
}

TEST_F(LimitedClaimTest, AcksTellWhereThereIsRoomAndOnlyThere) {
  std::vector<std::string> told;
  db::TaskAcker acker(database_.dsn(),
                      {.on_room = [&](absl::string_view queue) { told.emplace_back(queue); }});
  const auto ack = [&](const std::vector<db::TaskAck>& acks) {
    const auto held = Await<absl::StatusOr<std::vector<bool>>>(
        [&](auto done) { acker.Ack(acks, Deadline(), std::move(done)); });
    EXPECT_THAT(held, IsOk());
    return std::exchange(told, {});
  };
  Limit({.max_running = 5});
  std::vector<std::int64_t> ids = PutMany(3);
  const std::int64_t other = Create(MakeTask("other")).id;
  const Claimed limited = ClaimLimited(3);
  const Claimed unlimited = Claim({"other"});
  EXPECT_THAT(ack({{other, unlimited.token, ""}}), IsEmpty());
  EXPECT_THAT(ack({{ids[0], limited.token, ""}, {ids[1], limited.token, ""}}), ElementsAre("q"));
  EXPECT_THAT(ack({{ids[0], limited.token, ""}}), IsEmpty());  // it had ended
}

TEST_F(LimitedClaimTest, APausedQueueGivesNothing) {
  Limit({.max_running = 5, .max_running_per_key = 1, .rate_limit = RateLimit{10, 10}});
  PutMany(2, "k");
  ASSERT_THAT(queues_.Pause("q", "", Deadline()), IsOk());
  EXPECT_THAT(ClaimIds(), IsEmpty());
  EXPECT_THAT(claimer_.FindNextDue({"q"}, Deadline()), IsOkAndHolds(IsEmpty()));
  ASSERT_THAT(queues_.Resume("q", Deadline()), IsOk());
  EXPECT_TRUE(IsDue());
  EXPECT_THAT(ClaimIds(), SizeIs(1));
}

TEST_F(LimitedClaimTest, NobodyWaitsForWhoeverClaimsAtTheMoment) {
  Limit({.max_running = 5});
  const std::int64_t id = Put();
  SqlConnection other(database_.dsn());
  other.Run("BEGIN");
  other.Run("SELECT FROM queues FOR UPDATE");
  EXPECT_THAT(ClaimIds(), IsEmpty());
  EXPECT_TRUE(IsDue());
  other.Run("COMMIT");
  EXPECT_THAT(ClaimIds(), ElementsAre(id));
}

TEST_F(LimitedClaimTest, PassesOverWhatAnotherHasItsHandsOn) {
  Limit({.max_running = 1});
  const std::vector<std::int64_t> ids = PutMany(2);
  SqlConnection other(database_.dsn());
  other.Run("BEGIN");
  other.Run(absl::StrCat("SELECT FROM tasks WHERE id = ", ids[0], " FOR UPDATE"));
  EXPECT_THAT(ClaimIds(), ElementsAre(ids[1]));
}

TEST_F(LimitedClaimTest, AClaimTakesATokenATask) {
  Limit({.rate_limit = RateLimit{0.01, 3}});
  const std::vector<std::int64_t> ids = PutMany(6);
  EXPECT_THAT(ClaimIds(2), ElementsAre(ids[0], ids[1]));
  EXPECT_THAT(ClaimIds(), ElementsAre(ids[2]));
  EXPECT_THAT(ClaimIds(), IsEmpty());
  EXPECT_LE(ClaimIn(), absl::Seconds(100));
  EXPECT_GT(ClaimIn(), absl::Seconds(70));
  database_.Sql("UPDATE queues SET tokens_at = tokens_at - interval '130 s'");
  EXPECT_TRUE(IsDue());
  EXPECT_THAT(ClaimIds(), ElementsAre(ids[3]));
  // The third of a token that was left counts.
  EXPECT_LE(ClaimIn(), absl::Seconds(70));
  database_.Sql("UPDATE queues SET tokens_at = tokens_at - interval '1 day'");
  EXPECT_THAT(ClaimIds(), ElementsAre(ids[4], ids[5]));
  EXPECT_EQ(database_.Sql("SELECT floor(tokens) FROM queues"), "1");  // no more than three came in
  // A clock that was put back costs no more than what comes in after.
  database_.Sql("UPDATE queues SET tokens = 0, tokens_at = now() + interval '1 day'");
  PutMany(1);
  EXPECT_LE(ClaimIn(), absl::Seconds(100));
}

TEST_F(LimitedClaimTest, AFastBucketIsNotAskedForEveryToken) {
  Limit({.rate_limit = RateLimit{10'000, 1000}});
  PutMany(1);
  database_.Sql("UPDATE queues SET tokens = 0, tokens_at = clock_timestamp() + interval '1 min'");
  EXPECT_EQ(ClaimIn(), absl::Milliseconds(10));
  Limit({.rate_limit = RateLimit{10'000, 4}});
  database_.Sql("UPDATE queues SET tokens = 0, tokens_at = clock_timestamp() + interval '1 min'");
  EXPECT_EQ(ClaimIn(), absl::Microseconds(200));
}

TEST_F(LimitedClaimTest, OneKeyKeepsNoOtherWaiting) {
  Limit({.max_running_per_key = 2});
  const std::vector<std::int64_t> a = PutMany(5, "a");
  const std::vector<std::int64_t> b = PutMany(2, "b");
  const std::vector<std::int64_t> none = PutMany(3);
  const Claimed first = ClaimLimited();
  EXPECT_THAT(Ids(first.tasks), ElementsAre(a[0], a[1], b[0], b[1], none[0], none[1], none[2]));
  EXPECT_EQ(Blocked(), "3");
  EXPECT_TRUE(IsNeverDue());
  ASSERT_THAT(Ack({b[0], first.token}), IsOk());
  EXPECT_TRUE(IsNeverDue());
  ASSERT_THAT(Ack({a[1], first.token}), IsOk());
  EXPECT_TRUE(IsDue());
  EXPECT_THAT(ClaimIds(), ElementsAre(a[2]));
  EXPECT_EQ(Blocked(), "2");
  Limit({.max_running_per_key = 5});
  EXPECT_TRUE(IsDue());
  EXPECT_THAT(ClaimIds(), ElementsAre(a[3], a[4]));
}

TEST_F(LimitedClaimTest, WhatWasBlockedAndWhatIsNewGoByPriorityAndTime) {
  Limit({.max_running = 2, .max_running_per_key = 1});
  const std::int64_t running = Put("a");
  const std::int64_t blocked = Put("a");
  const std::int64_t blocked_later = Put("a");
  const Claimed first = ClaimLimited(1);
  ASSERT_THAT(Ids(first.tasks), ElementsAre(running));
  ASSERT_THAT(ClaimIds(), IsEmpty());
  ASSERT_EQ(Blocked(), "2");
  const std::int64_t urgent = Put("a", 5);
  const std::int64_t other = Put("b");
  ASSERT_THAT(Ack({running, first.token}), IsOk());
  const Claimed second = ClaimLimited();
  EXPECT_THAT(Ids(second.tasks), ElementsAre(urgent, other));
  ASSERT_THAT(Ack({urgent, second.token}), IsOk());
  ASSERT_THAT(Ack({other, second.token}), IsOk());
  Put("b");
  const Claimed third = ClaimLimited(1);
  EXPECT_THAT(Ids(third.tasks), ElementsAre(blocked));
  ASSERT_THAT(Ack({blocked, third.token}), IsOk());
  EXPECT_THAT(ClaimIds(1), ElementsAre(blocked_later));
}

TEST_F(LimitedClaimTest, WhatMayRunButIsNotTakenIsNotBlocked) {
  Limit({.max_running_per_key = 3});
  PutMany(5, "a");
  EXPECT_THAT(ClaimIds(1), SizeIs(1));
  EXPECT_EQ(Blocked(), "2");
  EXPECT_THAT(ClaimIds(1), SizeIs(1));
  EXPECT_THAT(ClaimIds(), SizeIs(1));
  EXPECT_THAT(ClaimIds(), IsEmpty());
}

TEST_F(LimitedClaimTest, WhatIsBlockedCanStillEndOrMove) {
  Limit({.max_running_per_key = 1});
  const std::vector<std::int64_t> ids = PutMany(5, "a");
  const Claimed first = ClaimLimited();
  ASSERT_EQ(Blocked(), "4");
  ASSERT_THAT(tasks_.CancelTask(ids[1], Deadline()), IsOk());
  ASSERT_THAT(tasks_.RescheduleTask(ids[2], {.delay = absl::Hours(1)}, Deadline()), IsOk());
  database_.Sql(
      absl::StrCat("UPDATE tasks SET expires_at = now() - interval '1 s' WHERE id = ", ids[3]));
  EXPECT_EQ(Blocked(), "2");
  ASSERT_THAT(Ack({ids[0], first.token}), IsOk());
  // The one that is expired is not handed out, nor does it keep others from it.
  EXPECT_THAT(ClaimIds(), ElementsAre(ids[4]));
  EXPECT_THAT(tasks_.ExpireTasks(10, Deadline()), IsOkAndHolds(1));
  EXPECT_EQ(Blocked(), "0");
  // A task that is moved to now competes anew.
  ASSERT_THAT(tasks_.RescheduleTask(ids[2], {}, Deadline()), IsOk());
  EXPECT_THAT(ClaimIds(), IsEmpty());
  EXPECT_EQ(Blocked(), "1");
  Limit({});
  EXPECT_EQ(Blocked(), "0");
  EXPECT_THAT(Ids(Claim({"q"}, 5).tasks), ElementsAre(ids[2]));
}

TEST_F(LimitedClaimTest, FindsItsWayPastManyTasksOfOneKey) {
  Limit({.max_running_per_key = 1});
  database_.Sql(
      "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts, concurrency_key) "
      "SELECT 'q', 'n', '', now() - interval '1 min', 0, 3, 'big' FROM generate_series(1, 3000)");
  const std::int64_t other = Put("small");
  ASSERT_THAT(ClaimIds(1), SizeIs(1));
  int claims = 0;
  std::vector<std::int64_t> found;
  while (found.empty() && ++claims < 20) {
    EXPECT_TRUE(IsDue());
    found = ClaimIds(1);
  }
  EXPECT_THAT(found, ElementsAre(other));
  EXPECT_LE(claims, 7);
  EXPECT_EQ(Blocked(), "2999");
  EXPECT_TRUE(IsNeverDue());
}

TEST_F(LimitedClaimTest, AClaimWeighsNoMoreThanAnAnswerMay) {
  Limit({.max_running = 100});
  NewTask heavy = MakeTask();
  heavy.payload = std::string(1 << 20, 'x');
  for (int i = 0; i < 5; ++i) ASSERT_THAT(TryCreate(heavy), IsOk());
  EXPECT_THAT(ClaimIds(), SizeIs(2));
  EXPECT_THAT(ClaimIds(), SizeIs(2));
  EXPECT_THAT(ClaimIds(), SizeIs(1));
}

TEST_F(LimitedClaimTest, ManyWhoClaimAtOnceNeverExceedWhatMayRun) {
  constexpr int kTasks = 400;
  constexpr int kMaxRunning = 5;
  constexpr int kPerKey = 2;
  constexpr int kKeys = 4;
  Limit({.max_running = kMaxRunning, .max_running_per_key = kPerKey});
  database_.Sql(absl::StrCat(
      "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts, concurrency_key) "
      "SELECT 'q', 'n', '', now(), i % 3, 5, nullif('k' || i % ",
      kKeys + 1, ", 'k0') FROM generate_series(1, ", kTasks, ") AS i"));
  // What is in hand: after the claim, before the end, so never more than what runs.
  std::atomic<int> in_hand = 0;
  std::map<std::string, std::atomic<int>> in_hand_of;
  for (int key = 1; key <= kKeys; ++key) in_hand_of[absl::StrCat("k", key)] = 0;
  std::atomic<int> most = 0;
  std::atomic<int> done = 0;
  RunThreads(8, [&](int /*thread*/) {
    db::TaskClaimer claimer(database_.dsn());
    absl::BitGen dice;
    while (done < kTasks) {
      const std::string token = NewRandomToken();
      const auto claim = claimer.ClaimLimited(
          {"q", absl::Uniform(dice, 1, 5), absl::Minutes(1), token}, Deadline());
      ASSERT_THAT(claim, IsOk());
      for (const Task& task : *claim) {
        const int now = ++in_hand;
        EXPECT_LE(now, kMaxRunning);
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        if (!task.concurrency_key.empty()) {
          EXPECT_LE(++in_hand_of.at(task.concurrency_key), kPerKey);
        }
      }
      for (const Task& task : *claim) {
        --in_hand;
        if (!task.concurrency_key.empty()) --in_hand_of.at(task.concurrency_key);
        if (absl::Bernoulli(dice, 0.2)) {
          ASSERT_THAT(
              tasks_.EndAttempts({{.lease = {task.id, token}, .kind = AttemptEnd::Kind::kReleased}},
                                 Deadline()),
              IsOkAndHolds(SizeIs(1)));
        } else {
          ASSERT_THAT(tasks_.AckTask({task.id, token}, Deadline()), IsOk());
          ++done;
        }
      }
    }
  });
  EXPECT_EQ(done, kTasks);
  EXPECT_GT(most, 1);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM tasks"), "0");
}

TEST_F(LimitedClaimTest, ManyWhoClaimAtOnceTakeNoMoreThanTheBucketHolds) {
  constexpr double kRate = 200;
  constexpr int kBurst = 10;
  database_.Sql(
      "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts) "
      "SELECT 'q', 'n', '', now(), 0, 3 FROM generate_series(1, 1000)");
  const absl::Time start = absl::Now();
  Limit({.rate_limit = RateLimit{kRate, kBurst}});
  std::atomic<int> taken = 0;
  RunThreads(6, [&](int /*thread*/) {
    db::TaskClaimer claimer(database_.dsn());
    while (taken < 100) {
      const auto claim =
          claimer.ClaimLimited({"q", 4, absl::Minutes(1), NewRandomToken()}, Deadline());
      ASSERT_THAT(claim, IsOk());
      const int so_far = taken += static_cast<int>(claim->size());
      EXPECT_LE(so_far, kBurst + kRate * absl::ToDoubleSeconds(absl::Now() - start));
    }
  });
}

}  // namespace
}  // namespace parley::testing
