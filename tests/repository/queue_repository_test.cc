#include "db/repository/queue_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "tests/repository/task_fixture.h"
#include "tests/support/run_threads.h"
#include "tests/support/status_matchers.h"

namespace parley::testing {
namespace {

using ::testing::ElementsAre;

// Whether it comes true in time.
template <class Condition>
bool Eventually(Condition condition) {
  for (const absl::Time deadline = absl::Now() + absl::Seconds(20); absl::Now() < deadline;) {
    if (condition()) return true;
  }
  return false;
}

class QueueRepositoryTest : public TaskRepositoryTest {
 protected:
  static QueueSettings AllSettings() {
    return {
        .max_attempts = 7,
        .retry = {.first = absl::Milliseconds(1500), .jitter = 0},
        .max_running = 11,
        .max_running_per_key = 2,
        .rate_limit = RateLimit{.rate = 0.1, .burst = 3},
        .target = QueueTarget{"t", CeleryDelivery{.queue = "a \"b\"", .redis_priorities = true}}};
  }

  Queue Create(const QueueSettings& settings) {
    return queues_.Create({.name = "q", .settings = settings}, Deadline()).value();
  }
  using TaskRepositoryTest::Create;

  Queue Get(const std::string& name = "q") { return queues_.Get(name, Deadline()).value(); }

  absl::StatusOr<Queue> Update(QueueChange change, std::optional<std::int64_t> version = {}) {
    return queues_.Update({.name = "q", .change = std::move(change), .version = version},
                          Deadline());
  }

  // As claims that honour a limit by key leave them.
  void Block(const std::string& which) {
    database_.Sql(absl::StrCat(
        "UPDATE tasks SET blocked = true, concurrency_key = coalesce(concurrency_key, 'k') WHERE ",
        which));
  }

  db::QueueRepository queues_{database_.pool()};
};

TEST_F(QueueRepositoryTest, AQueueThatNeverHadSettingsHasTheDefaults) {
  const Queue queue = Get("never-heard-of");
  EXPECT_EQ(queue.name, "never-heard-of");
  EXPECT_EQ(queue.settings, QueueSettings());
  EXPECT_EQ(queue.version, 0);
  EXPECT_FALSE(queue.create_time);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM queues"), "0");
}

TEST_F(QueueRepositoryTest, KeepsAllItsSettings) {
  for (const QueueSettings& settings : {AllSettings(), QueueSettings()}) {
    database_.Sql("DELETE FROM queues");
    const Queue created = Create(settings);
    const Queue read = Get();
    for (const Queue& queue : {created, read}) {
      EXPECT_EQ(queue.settings, settings);
      EXPECT_EQ(queue.version, 1);
      EXPECT_TRUE(queue.create_time);
      EXPECT_EQ(queue.create_time, queue.update_time);
      EXPECT_FALSE(queue.pause_time);
    }
  }
}

TEST_F(QueueRepositoryTest, IsCreatedOnceAndARepeatedRequestIsAnsweredAsItIs) {
  const db::QueueRepository::CreateParams params = {"q", AllSettings(), "once", "content"};
  ASSERT_THAT(queues_.Create(params, Deadline()), IsOk());
  ASSERT_THAT(Update({.max_running = 5}), IsOk());
  const auto again = queues_.Create(params, Deadline());
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->settings.max_running, 5);
  EXPECT_EQ(again->version, 2);
  EXPECT_THAT(queues_.Create({"q", {}, "once", "other"}, Deadline()),
              StatusIs(absl::StatusCode::kAlreadyExists, reason::kRequestIdReused));
  EXPECT_THAT(queues_.Create({"q", {}, "", ""}, Deadline()),
              StatusIs(absl::StatusCode::kAlreadyExists, reason::kQueueExists));
  // What failed is not remembered.
  EXPECT_THAT(queues_.Create({"q", {}, "late", "f"}, Deadline()),
              StatusIs(absl::StatusCode::kAlreadyExists, reason::kQueueExists));
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM requests"), "1");
}

TEST_F(QueueRepositoryTest, AnUpdateChangesWhatItNamesAndTakesLimitsAway) {
  Create(AllSettings());
  QueueSettings expected = AllSettings();
  expected.max_running = 12;
  auto updated = Update({.max_running = 12});
  ASSERT_THAT(updated, IsOk());
  EXPECT_EQ(updated->settings, expected);
  EXPECT_EQ(updated->version, 2);
  updated = Update({.max_attempts = 0,
                    .retry = RetryPolicy(),
                    .max_running = 0,
                    .max_running_per_key = 0,
                    .rate_limit = std::optional<RateLimit>(),
                    .target = std::optional<QueueTarget>()});
  ASSERT_THAT(updated, IsOk());
  EXPECT_EQ(updated->settings, QueueSettings());
  EXPECT_EQ(Get().settings, QueueSettings());
  EXPECT_EQ(database_.Sql("SELECT limited FROM queues"), "f");
}

TEST_F(QueueRepositoryTest, AnUpdateThatChangesNothingWritesNothing) {
  EXPECT_THAT(Update({.max_running = 0}), IsOk());
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM queues"), "0");
  Create(AllSettings());
  const std::string before = database_.Sql("SELECT q::text FROM queues AS q");
  const auto updated = Update({.retry = AllSettings().retry, .rate_limit = RateLimit{0.1, 3}});
  ASSERT_THAT(updated, IsOk());
  EXPECT_EQ(updated->version, 1);
  EXPECT_EQ(database_.Sql("SELECT q::text FROM queues AS q"), before);
}

TEST_F(QueueRepositoryTest, AnOutdatedVersionChangesNothing) {
  const auto mismatch = StatusIs(absl::StatusCode::kAborted, std::string(reason::kEtagMismatch));
  EXPECT_THAT(Update({.max_running = 1}, 1), mismatch);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM queues"), "0");
  ASSERT_THAT(Update({.max_running = 1}, 0), IsOk());
  EXPECT_THAT(Update({.max_running = 2}, 0), mismatch);
  ASSERT_THAT(Update({.max_running = 2}, 1), IsOk());
  EXPECT_EQ(Get().settings.max_running, 2);
}

TEST_F(QueueRepositoryTest, APauseLastsSinceItBeganWhateverItsNote) {
  const auto paused = queues_.Pause("q", "maintenance", Deadline());
  ASSERT_THAT(paused, IsOk());
  ASSERT_TRUE(paused->pause_time);
  EXPECT_EQ(paused->pause_note, "maintenance");
  EXPECT_EQ(queues_.Pause("q", "maintenance", Deadline())->version, paused->version);
  const auto again = queues_.Pause("q", "more of it", Deadline());
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->pause_time, paused->pause_time);
  EXPECT_EQ(again->pause_note, "more of it");
  EXPECT_GT(again->version, paused->version);
  ASSERT_THAT(Update({.max_running = 3}), IsOk());
  EXPECT_EQ(Get().pause_time, paused->pause_time);
  for (int i = 0; i < 2; ++i) {
    const auto resumed = queues_.Resume("q", Deadline());
    ASSERT_THAT(resumed, IsOk());
    EXPECT_FALSE(resumed->pause_time);
    EXPECT_EQ(resumed->pause_note, "");
    EXPECT_EQ(resumed->settings.max_running, 3);
  }
  EXPECT_THAT(queues_.Resume("another", Deadline()), IsOk());
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM queues"), "1");
}

TEST_F(QueueRepositoryTest, FirstChangesAtTheSameTimeAllCount) {
  for (int round = 0; round < 10; ++round) {
    database_.Sql("DELETE FROM queues");
    const std::vector<std::function<absl::StatusOr<Queue>()>> changes = {
        [&] { return Update({.max_running = 4}); },
        [&] { return Update({.max_attempts = 3}); },
        [&] { return queues_.Pause("q", "note", Deadline()); },
        [&] {
          return Update({.rate_limit = RateLimit{5, 6}});
        },
    };
    RunThreads(
        4, [&](int thread) { EXPECT_THAT(changes[static_cast<std::size_t>(thread)](), IsOk()); });
    const Queue queue = Get();
    EXPECT_EQ(queue.settings.max_running, 4);
    EXPECT_EQ(queue.settings.max_attempts, 3);
    EXPECT_EQ(queue.settings.rate_limit, (RateLimit{5, 6}));
    EXPECT_EQ(queue.pause_note, "note");
    EXPECT_EQ(queue.version, 4);
  }
}

TEST_F(QueueRepositoryTest, ANewBucketIsFullAndAnotherSizeKeepsWhatIsInIt) {
  const auto tokens = [&] { return database_.Sql("SELECT round(tokens) FROM queues"); };
  ASSERT_THAT(Update({.rate_limit = RateLimit{0.001, 10}}), IsOk());
  EXPECT_EQ(tokens(), "10");
  database_.Sql("UPDATE queues SET tokens = 4");
  ASSERT_THAT(Update({.rate_limit = RateLimit{0.001, 100}}), IsOk());
  EXPECT_EQ(tokens(), "4");
  ASSERT_THAT(Update({.rate_limit = RateLimit{0.001, 2}}), IsOk());
  EXPECT_EQ(tokens(), "2");
  // What came in at the old rate counts.
  database_.Sql("UPDATE queues SET tokens = 0, tokens_at = now() - interval '1000 s'");
  ASSERT_THAT(Update({.rate_limit = RateLimit{50, 100}}), IsOk());
  EXPECT_EQ(tokens(), "1");
  ASSERT_THAT(Update({.rate_limit = std::optional<RateLimit>()}), IsOk());
  EXPECT_EQ(tokens(), "");
}

TEST_F(QueueRepositoryTest, ListsByNameWhatHasSettingsOrHasHadTasks) {
  ASSERT_THAT(queues_.Pause("b", "", Deadline()), IsOk());
  ASSERT_THAT(queues_.Pause("d", "", Deadline()), IsOk());
  for (const char* queue : {"c", "B", "d", "e"}) Create(MakeTask(queue));
  const auto names = [&](const PageParams<std::string>& page) {
    std::vector<std::string> result;
    const auto listed = queues_.List(page, Deadline());
    EXPECT_THAT(listed, IsOk());
    for (const Queue& queue : listed->rows) result.push_back(queue.name);
    result.push_back(listed->next.value_or("end"));
    return result;
  };
  EXPECT_THAT(names({.limit = 10}), ElementsAre("B", "b", "c", "d", "e", "end"));
  EXPECT_THAT(names({.limit = 2}), ElementsAre("B", "b", "b"));
  EXPECT_THAT(names({.limit = 2, .after = "b"}), ElementsAre("c", "d", "d"));
  EXPECT_THAT(names({.limit = 2, .offset = 3}), ElementsAre("d", "e", "end"));
  EXPECT_THAT(names({.limit = 2, .offset = 30}), ElementsAre("end"));
}

TEST_F(QueueRepositoryTest, StatsTellWhatIsDueLongestAndWhatIsNext) {
  const auto stats = [&] { return queues_.GetStats("q", Deadline()).value(); };
  EXPECT_FALSE(stats().oldest_due_time);
  EXPECT_FALSE(stats().next_due_time);
  EXPECT_FALSE(stats().pause_time);
  database_.Sql("SELECT setval('task_id_seq', 1000)");
  database_.Sql(
      "INSERT INTO tasks (id, queue, name, payload, run_at, priority, max_attempts, expires_at) "
      "SELECT i, 'q', 'n', '', 'epoch'::timestamptz + i * interval '1 s', i % 10, 3, "
      "CASE WHEN i = 1 THEN now() END FROM generate_series(1, 40) AS i");
  database_.Sql(
      "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts) "
      "SELECT q, 'n', '', '2100-01-01'::timestamptz + i * interval '1 s', i % 10, 3 "
      "FROM unnest('{q,r}'::text[]) AS q, generate_series(1, 40) AS i");
  EXPECT_EQ(stats().oldest_due_time, absl::FromUnixSeconds(2));
  EXPECT_EQ(stats().next_due_time, absl::FromUnixSeconds(4102444801));
  EXPECT_EQ(stats().pending, 80);
  // A blocked task is due, though a claim does not look at it.
  Block("id = 2");
  EXPECT_EQ(stats().oldest_due_time, absl::FromUnixSeconds(2));
  Block("id > 4 AND id <= 40");
  EXPECT_EQ(stats().oldest_due_time, absl::FromUnixSeconds(2));
  database_.Sql("DELETE FROM tasks WHERE id = 2");
  EXPECT_EQ(stats().oldest_due_time, absl::FromUnixSeconds(3));
  database_.Sql("DELETE FROM tasks WHERE id < 5");
  EXPECT_EQ(stats().oldest_due_time, absl::FromUnixSeconds(5));
  ASSERT_THAT(queues_.Pause("q", "", Deadline()), IsOk());
  EXPECT_EQ(stats().pause_time, Get().pause_time);
}

TEST_F(QueueRepositoryTest, APurgeCancelsWhatIsPendingStepByStep) {
  database_.Sql(
      "INSERT INTO tasks (id, queue, name, payload, run_at, priority, max_attempts) "
      "SELECT i, 'q', 'n', '', now() + (i % 3) * interval '1 day', i % 10, 3 "
      "FROM generate_series(1, 25) AS i");
  database_.Sql("SELECT setval('task_id_seq', 25)");
  const std::int64_t other = Create(MakeTask("other")).id;
  Block("id IN (7, 8)");
  database_.Sql(
      "UPDATE tasks SET state = 'running', attempt = 1, lease_until = now(), "
      "lease_token = gen_random_uuid() WHERE id IN (3, 9)");
  const auto last = queues_.GetLastTaskId(Deadline());
  ASSERT_THAT(last, IsOkAndHolds(other));
  const std::int64_t late = Create(MakeTask()).id;
  std::vector<std::int64_t> counts;
  db::QueueRepository::PurgeParams params = {.name = "q", .up_to = *last, .max_tasks = 10};
  do {
    const auto purged = queues_.Purge(params, Deadline());
    ASSERT_THAT(purged, IsOk());
    counts.push_back(purged->count);
    params.after = purged->last_id;
  } while (params.after != 0);
  EXPECT_THAT(counts, ElementsAre(10, 10, 3, 0));
  EXPECT_EQ(database_.Sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM tasks"),
            absl::StrCat("3 9 ", other, " ", late));
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM task_history WHERE state = 'cancelled'"), "23");
}

TEST_F(QueueRepositoryTest, APurgeOfDeadTasksRemovesThemStepByStepForGood) {
  const auto bury = [&](const std::string& queue, int from, int to) {
    database_.Sql(absl::StrCat(
        "INSERT INTO dead_tasks (id, queue, name, payload, headers, run_at, priority, attempt, "
        "                        max_attempts, errors, created_at) "
        "SELECT i, '",
        queue,
        "', 'n', '', '{}', now(), 0, 3, 3, '[]', now() "
        "FROM generate_series(",
        from, ", ", to, ") AS i"));
  };
  bury("q", 1, 25);
  bury("other", 26, 28);
  bury("q", 29, 29);  // created after the purge has begun
  database_.Sql(
      "INSERT INTO queue_counters (queue, backend, dead, died) "
      "VALUES ('q', 0, 26, 26), ('other', 0, 3, 3);"
      "SELECT setval('task_id_seq', 1000)");
  const std::int64_t pending = Create(MakeTask()).id;
  std::vector<std::int64_t> counts;
  db::QueueRepository::PurgeParams params = {.name = "q", .up_to = 28, .max_tasks = 10};
  do {
    const auto purged = queues_.PurgeDead(params, Deadline());
    ASSERT_THAT(purged, IsOk());
    counts.push_back(purged->count);
    params.after = purged->last_id;
  } while (params.after != 0);
  EXPECT_THAT(counts, ElementsAre(10, 10, 5, 0));
  EXPECT_EQ(database_.Sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM dead_tasks"),
            "26 27 28 29");
  EXPECT_EQ(tasks_.GetTask(pending, Deadline())->state, TaskState::kPending);
  EXPECT_THAT(tasks_.GetTask(1, Deadline()),
              StatusIs(absl::StatusCode::kNotFound, reason::kTaskNotFound));
  const QueueStats stats = queues_.GetStats("q", Deadline()).value();
  EXPECT_EQ(stats.dead, 1);
  EXPECT_EQ(stats.died, 26);
  EXPECT_EQ(stats.pending, 1);
  EXPECT_EQ(queues_.GetStats("other", Deadline())->dead, 3);
  EXPECT_EQ(queues_.PurgeDead({.name = "q", .up_to = 28, .max_tasks = 10}, Deadline())->count, 0);
}

TEST_F(QueueRepositoryTest, APurgeOfDeadTasksLeavesAloneWhatIsDrivenAgainMeanwhile) {
  const std::int64_t id = Create(MakeTask()).id;
  const Claimed claimed = Claim({"q"});
  ASSERT_THAT(
      tasks_.EndAttempt({.lease = {id, claimed.token}, .kind = AttemptEnd::Kind::kFailedForGood},
                        Deadline()),
      IsOk());
  SqlConnection other(database_.dsn());
  other.Run("BEGIN");
  other.Run(absl::StrCat("DELETE FROM dead_tasks WHERE id = ", id));  // as RedriveTask does
  RunThreads(2, [&](int thread) {
    if (thread == 0) {
      const auto purged =
          queues_.PurgeDead({.name = "q", .up_to = id, .max_tasks = 10}, Deadline());
      ASSERT_THAT(purged, IsOk());
      EXPECT_EQ(purged->count, 0);
      return;
    }
    EXPECT_TRUE(Eventually([&] {
      return database_.Sql(
                 "SELECT count(*) FROM pg_stat_activity "
                 "WHERE datname = current_database() AND wait_event_type = 'Lock'") != "0";
    }));
    other.Run("COMMIT");
  });
  EXPECT_EQ(queues_.GetStats("q", Deadline())->dead, 1);  // the other has not counted
}

TEST_F(QueueRepositoryTest, APurgeMissesNothingThatSomebodyElseHasItsHandsOn) {
  const std::int64_t rescheduled = Create(MakeTask()).id;
  const std::int64_t claimed = Create(MakeTask()).id;
  SqlConnection other(database_.dsn());
  other.Run("BEGIN");
  other.Run(absl::StrCat("UPDATE tasks SET run_at = now() WHERE id = ", rescheduled));
  other.Run(
      absl::StrCat("UPDATE tasks SET state = 'running', attempt = 1, lease_until = now(), "
                   "lease_token = gen_random_uuid() WHERE id = ",
                   claimed));
  RunThreads(2, [&](int thread) {
    if (thread == 0) {
      const auto purged =
          queues_.Purge({.name = "q", .up_to = claimed, .max_tasks = 10}, Deadline());
      ASSERT_THAT(purged, IsOk());
      EXPECT_EQ(purged->count, 1);
      return;
    }
    EXPECT_TRUE(Eventually([&] {
      return database_.Sql(
                 "SELECT count(*) FROM pg_stat_activity "
                 "WHERE datname = current_database() AND wait_event_type = 'Lock'") != "0";
    }));
    other.Run("COMMIT");
  });
  EXPECT_EQ(tasks_.GetTask(rescheduled, Deadline())->state, TaskState::kCancelled);
  EXPECT_EQ(tasks_.GetTask(claimed, Deadline())->state, TaskState::kRunning);
}

TEST_F(QueueRepositoryTest, FreesWhatWaitsForALimitThatIsGone) {
  database_.Sql(
      "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts) "
      "SELECT q, 'n', '', now(), 0, 3 FROM unnest('{a,q,z}'::text[]) AS q, generate_series(1, 30)");
  Block("true");
  database_.Sql("INSERT INTO queues (name, max_running_per_key) VALUES ('q', 1), ('z', 1)");
  const auto blocked = [&] {
    return database_.Sql(
        "SELECT coalesce(string_agg(queue || n, ' ' ORDER BY queue), '') "
        "FROM (SELECT queue, count(*) AS n FROM tasks WHERE blocked GROUP BY queue) AS b");
  };
  EXPECT_THAT(queues_.UnblockTasks(20, Deadline()), IsOkAndHolds(20));
  EXPECT_EQ(blocked(), "a10 q30 z30");
  // Not with another limit, and not by whoever takes another limit away.
  ASSERT_THAT(Update({.max_running_per_key = 2}), IsOk());
  EXPECT_EQ(blocked(), "a10 q30 z30");
  ASSERT_THAT(Update({.max_running_per_key = 0}), IsOk());
  EXPECT_EQ(blocked(), "z30");
  EXPECT_THAT(queues_.UnblockTasks(20, Deadline()), IsOkAndHolds(0));
}

TEST_F(QueueRepositoryTest, FoldingKeepsSumsAndTheRowsOfConnectionsThatLive) {
  {
    SqlConnection gone(database_.dsn());
    gone.Run(
        "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts) "
        "SELECT q, 'n', '', now(), 0, 1 FROM unnest('{q,q,r}'::text[]) AS q");
  }
  SqlConnection alive(database_.dsn());
  alive.Run(
      "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts) "
      "VALUES ('q', 'n', '', now(), 0, 1)");
  const std::string pid = alive.Run("SELECT pg_backend_pid()");
  const auto rows = [&] {
    return database_.Sql(
        absl::StrCat("SELECT string_agg(concat(queue, CASE backend WHEN 0 THEN ' sum ' WHEN ", pid,
                     " THEN ' alive ' ELSE ' gone ' END, pending, '/', created), ', ' "
                     "ORDER BY queue, backend) FROM queue_counters"));
  };
  // Whoever ends is in the list of processes for a moment more.
  EXPECT_TRUE(Eventually([&] {
    EXPECT_THAT(queues_.FoldCounters(Deadline()), IsOk());
    return rows() == "q sum 2/2, q alive 1/1, r sum 1/1";
  })) << rows();
  EXPECT_THAT(queues_.FoldCounters(Deadline()), IsOk());
  EXPECT_EQ(rows(), "q sum 2/2, q alive 1/1, r sum 1/1");
  EXPECT_EQ(queues_.GetStats("q", Deadline())->pending, 3);
}

}  // namespace
}  // namespace parley::testing
