#include "db/core/session_pool.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/support/people.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

using parley::testing::ClusterDsn;
using parley::testing::IsOk;
using parley::testing::RunSql;
using parley::testing::Soon;
using parley::testing::StatusIs;

// A name that only the connections of one pool have.
Dsn Named(const std::string& name) { return ClusterDsn().With("application_name", name); }

std::string CountConnections(const std::string& name) {
  return RunSql(ClusterDsn(),
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = '" + name + "'");
}

TEST(SessionPool, NeverLendsMoreThanItsSize) {
  SessionPool pool(Named("pool_size"), {.size = 3});
  std::atomic<int> lent{0};
  std::atomic<int> most{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 12; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        const auto lease = pool.Acquire(Soon());
        ASSERT_THAT(lease, IsOk());
        const int now = ++lent;
        int seen = most;
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        EXPECT_THAT((*lease)->Ping(), IsOk());
        --lent;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, 3);
  EXPECT_GE(most, 1);
}

TEST(SessionPool, WaitsNoLongerThanTheDeadline) {
  SessionPool pool(ClusterDsn(), {.size = 1});
  const auto held = pool.Acquire(Soon());
  ASSERT_THAT(held, IsOk());
  EXPECT_THAT(pool.Acquire(absl::Now() + absl::Milliseconds(30)),
              StatusIs(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded));
}

TEST(SessionPool, HandsAReturnedConnectionToWhoeverWaits) {
  SessionPool pool(Named("pool_handover"), {.size = 1});
  std::thread waiter;
  {
    const auto held = pool.Acquire(Soon());
    ASSERT_THAT(held, IsOk());
    waiter = std::thread([&pool] { EXPECT_THAT(pool.Acquire(Soon()), IsOk()); });
  }
  waiter.join();
  EXPECT_EQ(CountConnections("pool_handover"), "1");
}

TEST(SessionPool, LendsTheSameConnectionAgain) {
  SessionPool pool(Named("pool_reuse"), {.size = 8});
  for (int i = 0; i < 20; ++i) ASSERT_THAT(pool.Ping(Soon()), IsOk());
  EXPECT_EQ(CountConnections("pool_reuse"), "1");
}

TEST(SessionPool, ReplacesConnectionsThatTheServerEnded) {
  SessionPool pool(Named("pool_cut"), {.size = 2});
  ASSERT_THAT(pool.Ping(Soon()), IsOk());
  RunSql(ClusterDsn(),
         "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
         "WHERE application_name = 'pool_cut'");
  // The farewell may still be under way; at the latest the next call meets a new connection.
  const absl::Time limit = Soon();
  while (!pool.Ping(Soon()).ok() && absl::Now() < limit) {
  }
  EXPECT_THAT(pool.Ping(Soon()), IsOk());
}

TEST(SessionPool, EndsConnectionsThatAreOld) {
  SessionPool pool(Named("pool_old"), {.size = 1, .max_lifetime = absl::ZeroDuration()});
  std::string first;
  {
    const auto lease = pool.Acquire(Soon());
    ASSERT_THAT(lease, IsOk());
    ASSERT_THAT((*lease)->Command("SET application_name = 'pool_old_marked'"), IsOk());
  }
  ASSERT_THAT(pool.Ping(Soon()), IsOk());
  const absl::Time limit = Soon();
  while (CountConnections("pool_old_marked") != "0" && absl::Now() < limit) {
  }
  EXPECT_EQ(CountConnections("pool_old_marked"), "0");
}

TEST(SessionPool, RollsBackWhatALeaseLeftOpen) {
  SessionPool pool(ClusterDsn(), {.size = 1});
  {
    const auto lease = pool.Acquire(Soon());
    ASSERT_THAT((*lease)->Command("BEGIN"), IsOk());
    ASSERT_THAT((*lease)->Command("CREATE TEMPORARY TABLE left_open ()"), IsOk());
  }
  const auto lease = pool.Acquire(Soon());
  EXPECT_FALSE((*lease)->Command("SELECT * FROM left_open").ok());
}

TEST(SessionPool, DoesNotWaitForAServerThatHasFallenSilent) {
  SessionPool pool(Named("pool_silent"), {.size = 1});
  ASSERT_THAT(pool.Ping(Soon()), IsOk());
  const std::string pid = RunSql(
      ClusterDsn(), "SELECT pid FROM pg_stat_activity WHERE application_name = 'pool_silent'");
  // The backend of this connection is on the same machine; stopped, it keeps the connection open
  // and says nothing.
  ASSERT_EQ(kill(std::stoi(pid), SIGSTOP), 0);
  EXPECT_THAT(pool.Ping(absl::Now() + absl::Milliseconds(50)),
              StatusIs(absl::StatusCode::kUnavailable, reason::kDatabaseUnavailable));
  ASSERT_EQ(kill(std::stoi(pid), SIGCONT), 0);
  EXPECT_THAT(pool.Ping(Soon()), IsOk());
}

TEST(SessionPool, DoesNotWaitForASilentServerWhenItAsksAfterAnIdleConnection) {
  SessionPool pool(Named("pool_idle"), {.size = 1, .ping_after_idle = absl::ZeroDuration()});
  ASSERT_THAT(pool.Ping(Soon()), IsOk());
  const std::string pid =
      RunSql(ClusterDsn(), "SELECT pid FROM pg_stat_activity WHERE application_name = 'pool_idle'");
  ASSERT_EQ(kill(std::stoi(pid), SIGSTOP), 0);
  EXPECT_THAT(pool.Ping(Soon()), IsOk());  // over a new connection
  ASSERT_EQ(kill(std::stoi(pid), SIGCONT), 0);
}

TEST(SessionPool, SaysAtOnceThatTheServerIsAwayWhileItBacksOff) {
  SessionPool pool(ClusterDsn().With("port", "1"),
                   {.size = 1, .first_backoff = absl::Hours(1), .max_backoff = absl::Hours(1)});
  EXPECT_THAT(pool.Ping(Soon()),
              StatusIs(absl::StatusCode::kUnavailable, reason::kDatabaseUnavailable));
  const absl::Status second = pool.Ping(Soon());
  EXPECT_THAT(second, StatusIs(absl::StatusCode::kUnavailable, reason::kDatabaseUnavailable));
  EXPECT_GT(DetailsOf(second).retry_delay.value_or(absl::ZeroDuration()), absl::Minutes(50));
}

}  // namespace
}  // namespace parley::db
