// What a dedupe key keeps from being created, and for how long.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "db/repository/queue_repository.h"
#include "tests/repository/dedupe_fixture.h"
#include "tests/support/status_matchers.h"

namespace parley::testing {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr absl::StatusCode kTaken = absl::StatusCode::kAlreadyExists;

TEST_F(DedupeTest, AKeyIsTakenWhileItsTaskIsPendingOrRunning) {
  const std::int64_t first = CreateKeyed(Keyed("k", kReject));
  EXPECT_EQ(Get(first).options.dedupe_key, "k");
  const auto refused = TryCreateKeyed(Keyed("k", kReject));
  ASSERT_THAT(refused, StatusIs(kTaken, reason::kDedupeKeyTaken));
  EXPECT_THAT(DetailsOf(refused.status()).metadata,
              Contains(Pair("task_id", std::to_string(first))));
  const LeaseKey lease = ClaimOne();
  EXPECT_THAT(TryCreateKeyed(Keyed("k", kReject)), StatusIs(kTaken, reason::kDedupeKeyTaken));
  EXPECT_EQ(Tasks(), "1");
  ASSERT_THAT(Ack(lease), IsOk());
  EXPECT_NE(CreateKeyed(Keyed("k", kReject)), first);
}

TEST_F(DedupeTest, AKeyIsOneQueuesOnly) {
  const std::int64_t here = CreateKeyed(Keyed("k", kReject));
  db::CreateTaskParams other = Keyed("k", kKeep);
  other.task.queue = "other";
  const std::int64_t there = CreateKeyed(other);
  EXPECT_NE(there, here);
  EXPECT_EQ(CreateKeyed(other), there);
  EXPECT_EQ(CreateKeyed(Keyed("k", kKeep)), here);
  EXPECT_THAT(TryCreateKeyed(Keyed("K", kReject)), IsOk());
}

TEST_F(DedupeTest, EveryEndButSuccessFreesAKeyAtOnce) {
  db::CreateTaskParams params = Keyed("k", kReject);
  params.task.dedupe->window = absl::Hours(1);
  params.task.max_attempts = 1;
  ASSERT_THAT(tasks_.CancelTask(CreateKeyed(params), Deadline()), IsOk());

  CreateKeyed(params);
  ASSERT_THAT(tasks_.EndAttempt({.lease = ClaimOne()}, Deadline()), IsOk());  // dead

  params.task.expire_time = absl::Now() - absl::Seconds(1);
  CreateKeyed(params);  // expired, and not swept yet
  params.task.expire_time.reset();
  const std::int64_t last = CreateKeyed(params);
  EXPECT_THAT(TryCreateKeyed(params), StatusIs(kTaken, reason::kDedupeKeyTaken));
  ASSERT_THAT(tasks_.ExpireTasks(10, Deadline()), IsOkAndHolds(1));
  EXPECT_EQ(CreateKeyed(Keyed("k", kKeep)), last);
}

TEST_F(DedupeTest, KeepIsAnsweredWithTheTaskThatHasTheKeyAndWritesNothing) {
  const std::int64_t first = CreateKeyed(Keyed("k", kReject, "one"));
  const std::string before = database_.Sql("SELECT task_keys::text FROM task_keys");
  EXPECT_EQ(CreateKeyed(Keyed("k", kKeep, "two")), first);
  const LeaseKey lease = ClaimOne();
  EXPECT_EQ(CreateKeyed(Keyed("k", kKeep, "two")), first);
  EXPECT_EQ(Get(first).payload, "one");
  EXPECT_EQ(Tasks(), "1");
  EXPECT_EQ(database_.Sql("SELECT task_keys::text FROM task_keys"), before);
  ASSERT_THAT(Ack(lease), IsOk());
  EXPECT_NE(CreateKeyed(Keyed("k", kKeep, "two")), first);
}

TEST_F(DedupeTest, ReplaceOverwritesAPendingTask) {
  db::CreateTaskParams first = Keyed("k", kReject, "one");
  first.task.headers = {{"a", "1"}};
  first.task.concurrency_key = "c";
  first.task.run_timeout = absl::Minutes(1);
  const std::int64_t id = CreateKeyed(first);
  const Task before = Get(id);
  ASSERT_THAT(tasks_.EndAttempt({.lease = ClaimOne(), .error = "failed"}, Deadline()), IsOk());
  database_.Sql("UPDATE tasks SET blocked = true");

  db::CreateTaskParams second = Keyed("k", kReplace, std::string("\0\xff", 2));
  second.task.name = "other work";
  second.task.headers = {{"b", "\"2\""}};
  second.task.priority = 7;
  second.task.max_attempts = 5;
  second.task.run_time = absl::FromUnixMicros(253402300799999999);  // the last of year 9999
  second.task.expire_time = *second.task.run_time;
  second.task.retry.multiplier = 3;
  second.task.concurrency_key = "d";
  EXPECT_EQ(CreateKeyed(second), id);
  const Task after = Get(id);
  EXPECT_EQ(after.name, "other work");
  EXPECT_EQ(after.payload, second.task.payload);
  EXPECT_EQ(after.headers, second.task.headers);
  EXPECT_EQ(after.priority, 7);
  EXPECT_EQ(after.max_attempts, 5);
  EXPECT_EQ(after.run_time, *second.task.run_time);
  EXPECT_EQ(after.expire_time, second.task.expire_time);
  EXPECT_EQ(after.options.retry, second.task.retry);
  EXPECT_FALSE(after.options.run_timeout);
  EXPECT_EQ(after.options.dedupe_key, "k");
  EXPECT_EQ(after.concurrency_key, "d");
  EXPECT_EQ(database_.Sql("SELECT blocked FROM tasks"), "f");
  EXPECT_EQ(after.state, TaskState::kPending);
  EXPECT_EQ(after.attempt, 0);
  EXPECT_THAT(after.errors, IsEmpty());
  EXPECT_EQ(after.create_time, before.create_time);
  EXPECT_GT(after.update_time, before.update_time);
  EXPECT_EQ(Tasks(), "1");
}

TEST_F(DedupeTest, ARunningTaskHasItsKeyThoughItsExpireTimeIsOver) {
  CreateKeyed(Keyed("k", kReject));
  ClaimOne();
  database_.Sql("UPDATE tasks SET expires_at = now()");
  EXPECT_THAT(TryCreateKeyed(Keyed("k", kReject)), StatusIs(kTaken, reason::kDedupeKeyTaken));
}

TEST_F(DedupeTest, ReplaceDoesNotBringBackATaskThatHasExpired) {
  db::CreateTaskParams params = Keyed("k", kReplace);
  params.task.expire_time = absl::Now() - absl::Seconds(1);
  const std::int64_t first = CreateKeyed(params);
  EXPECT_NE(CreateKeyed(Keyed("k", kReplace)), first);
  ASSERT_THAT(tasks_.ExpireTasks(10, Deadline()), IsOkAndHolds(1));
}

TEST_F(DedupeTest, ReplaceLeavesARunningTaskAloneAndTakesItsKey) {
  const std::int64_t first = CreateKeyed(Keyed("k", kReplace, "one"));
  const LeaseKey lease = ClaimOne();
  const std::int64_t second = CreateKeyed(Keyed("k", kReplace, "two"));
  EXPECT_NE(second, first);
  EXPECT_EQ(Get(first).payload, "one");
  ASSERT_THAT(tasks_.EndAttempt({.lease = lease}, Deadline()), IsOk());  // pending again
  EXPECT_EQ(CreateKeyed(Keyed("k", kKeep)), second);
  EXPECT_EQ(CreateKeyed(Keyed("k", kReplace, "three")), second);
  EXPECT_EQ(Get(first).payload, "one");
}

TEST_F(DedupeTest, AWindowCountsFromTheSuccess) {
  db::CreateTaskParams params = Keyed("k", kReject);
  params.task.dedupe->window = absl::Hours(1);
  const std::int64_t first = CreateKeyed(params);
  ASSERT_THAT(Ack(ClaimOne()), IsOk());
  EXPECT_THAT(TryCreateKeyed(params), StatusIs(kTaken, reason::kDedupeKeyTaken));
  EXPECT_EQ(CreateKeyed(Keyed("k", kKeep)), first);

  // As if the hour had passed; the next holder inherits nothing.
  database_.Sql(
      "UPDATE task_keys SET window_us = 1, free_at = now(), look_at = now() + interval '1 day'");
  const std::int64_t second = CreateKeyed(params);
  EXPECT_NE(second, first);
  EXPECT_EQ(database_.Sql("SELECT look_at <= now() + interval '1 minute' FROM task_keys"), "t");
  ASSERT_THAT(Ack(ClaimOne()), IsOk());
  EXPECT_THAT(TryCreateKeyed(params), StatusIs(kTaken, reason::kDedupeKeyTaken));
  const std::int64_t third = CreateKeyed(Keyed("k", kReplace));  // in the window of the second
  EXPECT_NE(third, second);
  EXPECT_EQ(CreateKeyed(Keyed("k", kKeep)), third);
  ASSERT_THAT(Ack(ClaimOne()), IsOk());
  EXPECT_THAT(TryCreateKeyed(params), IsOk()) << "the third had no window";
}

TEST_F(DedupeTest, AWindowOutlivesTheHistory) {
  db::CreateTaskParams params = Keyed("k", kReject);
  params.task.dedupe->window = absl::Hours(24 * 366);
  CreateKeyed(params);
  ASSERT_THAT(Ack(ClaimOne()), IsOk());
  SweepKeys();
  database_.Sql("DELETE FROM task_history");
  EXPECT_THAT(TryCreateKeyed(params), StatusIs(kTaken, reason::kDedupeKeyTaken));
  EXPECT_EQ(database_.Sql("SELECT look_at = free_at FROM task_keys"), "t");
  database_.Sql("UPDATE task_keys SET free_at = now()");
  SweepKeys();
  EXPECT_EQ(Keys(), "0");
}

TEST_F(DedupeTest, KeysThatNobodyNeedsAreRemoved) {
  for (const char* key : {"pending", "running", "done", "dead"}) {
    db::CreateTaskParams params = Keyed(key, kReject);
    params.task.queue = key;
    params.task.delay = absl::Hours(key == std::string("pending") ? 1000 : 0);
    CreateKeyed(params);
  }
  Claim({"running"});
  const Claimed done = Claim({"done"});
  ASSERT_THAT(Ack({done.tasks.at(0).id, done.token}), IsOk());
  const Claimed dead = Claim({"dead"});
  ASSERT_THAT(tasks_.EndAttempt({.lease = {dead.tasks.at(0).id, dead.token},
                                 .kind = AttemptEnd::Kind::kFailedForGood},
                                Deadline()),
              IsOk());
  EXPECT_THAT(tasks_.SweepDedupeKeys(500, Deadline()), IsOkAndHolds(0)) << "too early";
  SweepKeys();
  EXPECT_EQ(database_.Sql("SELECT string_agg(dedupe_key, ' ' ORDER BY dedupe_key) FROM task_keys"),
            "dead pending running");
  EXPECT_EQ(database_.Sql("SELECT string_agg((look_at - now() > interval '11 hours')::text, ' ' "
                          "ORDER BY dedupe_key) FROM task_keys"),
            "true true false");

  // Driven again, it has its key.
  db::CreateTaskParams again = Keyed("dead", kReject);
  again.task.queue = "dead";
  ASSERT_THAT(tasks_.RedriveTask(dead.tasks.at(0).id, Deadline()), IsOk());
  EXPECT_THAT(TryCreateKeyed(again), StatusIs(kTaken, reason::kDedupeKeyTaken));
}

TEST_F(DedupeTest, AKeyOfAPurgedTaskIsFreeAndRemoved) {
  db::QueueRepository queues(database_.pool());
  const auto purge_dead = [&](const std::string& key) {
    const std::int64_t id = CreateKeyed(Keyed(key, kReject));
    ASSERT_THAT(tasks_.EndAttempt({.lease = ClaimOne(), .kind = AttemptEnd::Kind::kFailedForGood},
                                  Deadline()),
                IsOk());
    ASSERT_EQ(queues.PurgeDead({.name = "q", .up_to = id, .max_tasks = 10}, Deadline())->count, 1);
  };
  purge_dead("wanted");
  purge_dead("forgotten");
  const std::int64_t again = CreateKeyed(Keyed("wanted", kReject));
  SweepKeys();
  EXPECT_EQ(database_.Sql("SELECT string_agg(dedupe_key || ' ' || task_id, ' ') FROM task_keys"),
            absl::StrCat("wanted ", again));
}

TEST_F(DedupeTest, ARequestLeadsWhereItLedTheFirstTime) {
  const std::int64_t first = CreateKeyed(Keyed("k", kReject));
  db::CreateTaskParams keep = Keyed("k", kKeep, "keep");
  keep.request_id = "keep";
  EXPECT_EQ(CreateKeyed(keep), first);
  db::CreateTaskParams replace = Keyed("k", kReplace, "replace");
  replace.request_id = "replace";
  EXPECT_EQ(CreateKeyed(replace), first);
  EXPECT_EQ(CreateKeyed(Keyed("k", kReplace, "later")), first);
  ASSERT_THAT(Ack(ClaimOne()), IsOk());
  EXPECT_EQ(CreateKeyed(keep), first);
  EXPECT_EQ(CreateKeyed(replace), first);
  EXPECT_EQ(Get(first).payload, "later");
  EXPECT_EQ(Tasks(), "1");
  keep.fingerprint = "other";
  EXPECT_THAT(TryCreateKeyed(keep), StatusIs(kTaken, reason::kRequestIdReused));
}

TEST_F(DedupeTest, ARequestThatWasRefusedIsNotRemembered) {
  ASSERT_THAT(tasks_.GetTask(CreateKeyed(Keyed("k", kReject)), Deadline()), IsOk());
  db::CreateTaskParams second = Keyed("k", kReject, "second");
  second.request_id = "r";
  EXPECT_THAT(TryCreateKeyed(second), StatusIs(kTaken, reason::kDedupeKeyTaken));
  ASSERT_THAT(Ack(ClaimOne()), IsOk());
  const std::int64_t id = CreateKeyed(second);
  EXPECT_EQ(Get(id).payload, "second");
  EXPECT_EQ(CreateKeyed(second), id);
}

TEST_F(DedupeTest, ARequestOfABatchThatWasRefusedIsNotRemembered) {
  const std::int64_t first = CreateKeyed(Keyed("k", kReject));
  db::CreateTaskParams refused = Keyed("k", kReject);
  refused.request_id = "refused";
  db::CreateTaskParams kept = Keyed("k", kKeep);
  kept.request_id = "kept";
  const auto outcomes = keyed_creator_.Create({refused, kept}, Deadline());
  EXPECT_THAT(outcomes[0], StatusIs(kTaken, reason::kDedupeKeyTaken));
  ASSERT_THAT(outcomes[1], IsOk());
  ASSERT_THAT(Ack(ClaimOne()), IsOk());
  EXPECT_NE(CreateKeyed(refused), first);
  EXPECT_EQ(CreateKeyed(kept), first);
}

TEST_F(DedupeTest, ARequestWhoseTaskIsForgottenCreatesNothing) {
  db::CreateTaskParams params = Keyed("k", kReject);
  params.request_id = "r";
  CreateKeyed(params);
  ASSERT_THAT(Ack(ClaimOne()), IsOk());
  database_.Sql("DELETE FROM task_history");
  EXPECT_THAT(TryCreateKeyed(params), StatusIs(absl::StatusCode::kNotFound, reason::kTaskNotFound));
  EXPECT_EQ(Tasks(), "0");
}

TEST_F(DedupeTest, TasksOfABatchComeOneAfterTheOther) {
  const std::int64_t there = CreateKeyed(Keyed("there", kReject, "there"));
  std::vector<db::CreateTaskParams> batch = {
      Keyed("k", kReject, "0"),     Keyed("k", kReject, "1"),   Keyed("k", kReplace, "2"),
      {MakeTask(), "", ""},         Keyed("k", kKeep, "4"),     Keyed("there", kReplace, "5"),
      Keyed("there", kKeep, "6"),   {MakeTask(), "r", "f"},     {MakeTask(), "r", "f"},
      Keyed("there", kReject, "9"), {MakeTask(), "r", "other"}, Keyed("twin", kReject, "11"),
      Keyed("twin", kReject, "11")};
  batch[11].request_id = batch[12].request_id = "twin";
  const auto outcomes = keyed_creator_.Create(batch, Deadline());
  const auto id = [&](std::size_t place) {
    EXPECT_TRUE(outcomes[place].ok()) << place << ": " << outcomes[place].status();
    return outcomes[place].ok() ? outcomes[place]->id : 0;
  };
  EXPECT_THAT(outcomes[1], StatusIs(kTaken, reason::kDedupeKeyTaken));
  EXPECT_EQ(id(2), id(0));
  EXPECT_EQ(id(4), id(0));
  EXPECT_EQ(Get(id(0)).payload, "2");
  EXPECT_EQ(id(5), there);
  EXPECT_EQ(id(6), there);
  EXPECT_EQ(Get(there).payload, "5");
  EXPECT_NE(id(3), id(7));
  EXPECT_EQ(id(8), id(7));
  EXPECT_THAT(outcomes[9], StatusIs(kTaken, reason::kDedupeKeyTaken));
  EXPECT_THAT(outcomes[10], StatusIs(kTaken, reason::kRequestIdReused));
  EXPECT_EQ(id(12), id(11));
  EXPECT_EQ(Tasks(), "5");
}

TEST_F(DedupeTest, AKeyThatIsLockedForLongIsContention) {
  CreateKeyed(Keyed("k", kReject));
  SqlConnection blocker(database_.dsn());
  blocker.Run("BEGIN; SELECT FROM task_keys FOR UPDATE");
  EXPECT_THAT(TryCreateKeyed(Keyed("k", kKeep)),
              StatusIs(absl::StatusCode::kAborted, reason::kContention));
  blocker.Run("ROLLBACK");
  EXPECT_THAT(TryCreateKeyed(Keyed("k", kKeep)), IsOk());
}

}  // namespace
}  // namespace parley::testing
