// Dedupe keys that many want at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "tests/repository/dedupe_fixture.h"
#include "tests/support/run_threads.h"
#include "tests/support/status_matchers.h"

namespace parley::testing {
namespace {

using ::testing::SizeIs;

bool IsTaken(const absl::Status& status) {
  return DetailsOf(status).reason == reason::kDedupeKeyTaken;
}

// The key was that of others for a second, as on a machine that stalls: the caller tries again.
bool IsContention(const absl::Status& status) {
  return DetailsOf(status).reason == reason::kContention;
}

class DedupeRaceTest : public DedupeTest {
 protected:
  absl::StatusOr<Task> TryUntilSettled(const db::CreateTaskParams& params) {
    while (true) {
      absl::StatusOr<Task> created = TryCreateKeyed(params);
      if (!IsContention(created.status())) return created;
    }
  }

  // The database itself refuses, with an error that is none of ours, a second task with the key of
  // one that is in one of these states.
  void Forbid(const std::string& states) {
    database_.Sql(absl::StrCat("CREATE UNIQUE INDEX ON tasks ((options ->> 'dedupe_key')) ",
                               "WHERE state IN (", states, ")"));
  }
};

TEST_F(DedupeRaceTest, ManyWhoRejectCreateOne) {
  Forbid("'pending', 'running'");
  for (int round = 0; round < 20; ++round) {
    const std::string key = absl::StrCat("k", round);
    std::atomic<int> created{0};
    RunThreads(12, [&](int) {
      const auto outcome = TryUntilSettled(Keyed(key, kReject));
      if (outcome.ok()) ++created;
      EXPECT_TRUE(outcome.ok() || IsTaken(outcome.status())) << outcome.status();
    });
    EXPECT_EQ(created, 1);
  }
  EXPECT_EQ(Tasks(), "20");
}

TEST_F(DedupeRaceTest, ManyWhoKeepOrReplaceAreAnsweredWithOne) {
  Forbid("'pending', 'running'");
  for (int round = 0; round < 20; ++round) {
    const std::string key = absl::StrCat("k", round);
    std::vector<std::int64_t> ids(12);
    RunThreads(12, [&](int thread) {
      const auto created = TryUntilSettled(Keyed(key, thread % 2 == 0 ? kKeep : kReplace));
      ASSERT_THAT(created, IsOk());
      ids[static_cast<std::size_t>(thread)] = created->id;
    });
    EXPECT_THAT(std::set<std::int64_t>(ids.begin(), ids.end()), SizeIs(1));
  }
  EXPECT_EQ(Tasks(), "20");
}

// While workers take tasks and end them, and the keys are swept.
TEST_F(DedupeRaceTest, NoKeyIsEverThatOfTwoTasks) {
  Forbid("'pending', 'running'");
  std::atomic<bool> stop{false};
  std::thread sweeper([&] {
    while (!stop) SweepKeys();
  });
  std::thread worker([&] {
    while (!stop) {
      const Claimed claimed = Claim({"q"}, 10);
      for (const Task& task : claimed.tasks) {
        EXPECT_THAT(Ack({task.id, claimed.token}), IsOk());
      }
    }
  });
  std::atomic<int> created{0};
  RunThreads(6, [&](int thread) {
    std::mt19937 random(static_cast<unsigned>(thread));
    for (int i = 0; i < 150; ++i) {
      const auto outcome = TryUntilSettled(
          Keyed(absl::StrCat("k", random() % 3), thread % 2 == 0 ? kReject : kKeep));
      if (outcome.ok()) ++created;
      EXPECT_TRUE(outcome.ok() || IsTaken(outcome.status())) << outcome.status();
    }
  });
  stop = true;
  sweeper.join();
  worker.join();
  EXPECT_GT(created, 3);
}

TEST_F(DedupeRaceTest, ReplacingAndWorkingDoNotMix) {
  Forbid("'pending'");
  std::atomic<bool> stop{false};
  std::atomic<int> torn{0};
  std::thread worker([&] {
    while (!stop) {
      const Claimed claimed = Claim({"q"}, 10);
      for (const Task& task : claimed.tasks) {
        // A claimed task stays as it was claimed.
        if (Get(task.id).payload != task.payload) ++torn;
        EXPECT_THAT(Ack({task.id, claimed.token}), IsOk());
      }
    }
  });
  RunThreads(6, [&](int thread) {
    for (int i = 0; i < 100; ++i) {
      EXPECT_THAT(TryUntilSettled(Keyed("k", kReplace, absl::StrCat(thread, ".", i))), IsOk());
    }
  });
  stop = true;
  worker.join();
  EXPECT_EQ(torn, 0);
}

TEST_F(DedupeRaceTest, BatchesThatWantTheSameKeysDoNotStandInEachOthersWay) {
  Forbid("'pending', 'running'");
  constexpr int kKeys = 40;
  RunThreads(6, [&](int thread) {
    std::mt19937 random(static_cast<unsigned>(thread));
    for (int i = 0; i < 10; ++i) {
      std::vector<db::CreateTaskParams> batch;
      for (int key = 0; key < kKeys; ++key) {
        batch.push_back(Keyed(absl::StrCat("k", key), thread % 2 == 0 ? kKeep : kReplace));
      }
      std::shuffle(batch.begin(), batch.end(), random);
      auto outcomes = keyed_creator_.Create(batch, Deadline());
      while (IsContention(outcomes[0].status())) {
        outcomes = keyed_creator_.Create(batch, Deadline());
      }
      for (const auto& outcome : outcomes) ASSERT_THAT(outcome, IsOk());
    }
  });
  EXPECT_EQ(Tasks(), absl::StrCat(kKeys));
  EXPECT_EQ(
      database_.Sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"),
      "0");
}

TEST_F(DedupeRaceTest, WithARequestIdLostConnectionsCostNothingButARepeat) {
  std::atomic<bool> stop{false};
  std::atomic<int> answers{0};
  std::atomic<int> lost{0};
  std::thread killer([&] {
    SqlConnection connection(database_.dsn());
    connection.Run("SET client_min_messages = error");
    // In the middle of a write, and one for each answer: nobody is killed for ever.
    for (int seen = 0; !stop; seen = answers) {
      connection.Run(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
          "current_database() AND backend_xid IS NOT NULL ORDER BY random() LIMIT 1");
      answers.wait(seen);
    }
  });
  const auto answered = [&](const absl::Status& status) {
    ++answers;
    answers.notify_one();
    if (status.ok()) return true;
    if (IsContention(status)) return false;
    ++lost;
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    return status.code() != absl::StatusCode::kUnavailable;
  };
  constexpr int kThreads = 6;
  constexpr int kEach = 10;
  RunThreads(kThreads, [&](int thread) {
    for (int i = 0; i < kEach; ++i) {
      const std::string name = absl::StrCat(thread, ".", i);
      std::vector<db::CreateTaskParams> batch = {Keyed(name, kReject, "named"),
                                                 Keyed("shared", kKeep, "shared"),
                                                 Keyed(name + "+", kReject, "unnamed")};
      batch[0].request_id = name;
      while (true) {
        const auto outcomes = keyed_creator_.Create(batch, Deadline());
        if (answered(outcomes[0].status())) break;
        if (IsContention(outcomes[0].status())) continue;
        // What has no request id may not be told to send it again, if it may be there.
        const std::string& why = DetailsOf(outcomes[0].status()).reason;
        ASSERT_EQ(outcomes[2].status().code(), why == reason::kCommitInDoubt
                                                   ? absl::StatusCode::kUnknown
                                                   : absl::StatusCode::kUnavailable);
      }
      db::CreateTaskParams alone = Keyed(name + "-", kReject, "named");
      alone.request_id = name + "-";
      while (!answered(TryCreateKeyed(alone).status())) {
      }
    }
  });
  stop = true;
  ++answers;
  answers.notify_one();
  killer.join();
  EXPECT_GT(lost, 0);
  EXPECT_EQ(database_.Sql("SELECT count(*) || ' ' || count(DISTINCT options ->> 'dedupe_key') "
                          "FROM tasks WHERE convert_from(payload, 'UTF8') = 'named'"),
            absl::StrCat(2 * kThreads * kEach, " ", 2 * kThreads * kEach));
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM tasks WHERE convert_from(payload, 'UTF8') = "
                          "'shared'"),
            "1");
}

}  // namespace
}  // namespace parley::testing
