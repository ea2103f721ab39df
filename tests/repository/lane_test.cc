// The hot lanes on a real server: what they merge, and what they do when things break.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <future>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "db/core/hot_connection.h"
#include "db/core/merge_lane.h"
#include "db/core/read_lane.h"
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
using parley::testing::RunThreads;
using parley::testing::Soon;
using parley::testing::StatusIs;
using parley::testing::TempDatabase;
using ::testing::Each;
using ::testing::SizeIs;

const Statement kLaneEcho{
    "lane_test.Echo",
    "SELECT $1::bigint, $2::boolean, $3::timestamptz, $4::text, $5::bigint[]::text, "
    "$6::text[]::text, NULL::bigint, $7::uuid[]::text"};
const Statement kLaneSettings{
    "lane_test.Settings",
    "SELECT concat_ws(' ', current_setting('lock_timeout'), current_setting('synchronous_commit'), "
    "current_setting('plan_cache_mode'), current_setting('enable_seqscan'), "
    "current_setting('enable_hashjoin'), current_setting('enable_mergejoin'), "
    "current_setting('enable_material'), current_setting('jit'), "
    "current_setting('client_connection_check_interval'))"};
const Statement kLaneDivide{"lane_test.Divide", "SELECT 100 / $1::bigint"};
const Statement kLaneSleep{"lane_test.Sleep", "SELECT pg_sleep($1::bigint / 1000.0)::text"};
const Statement kBackend{"lane_test.Backend", "SELECT pg_backend_pid()::bigint"};
const Statement kTable{"lane_test.Table", "SELECT x FROM changing"};
const Statement kAdd{"lane_test.Add",
                     "UPDATE counters SET n = n + 1 FROM unnest($1::bigint[]) AS k (key) WHERE "
                     "counters.key = k.key"};
const Statement kLock{"lane_test.Lock",
                      "SELECT 1 FROM counters WHERE key = $1::bigint FOR UPDATE NOWAIT"};
// What is not positive breaks a constraint; what is there already stays as it is.
const Statement kWrite{"lane_test.Write",
                       "INSERT INTO written (id, tx) SELECT i.id, pg_current_xact_id()::text "
                       "FROM unnest($1::bigint[]) AS i (id) ON CONFLICT (id) DO NOTHING"};

class Lanes : public ::testing::Test {
 protected:
  Lanes() {
    database_.Sql(
        "CREATE TABLE counters (key bigint PRIMARY KEY, n bigint NOT NULL DEFAULT 0);"
        "INSERT INTO counters (key) SELECT generate_series(1, 50);"
        "CREATE TABLE written (id bigint PRIMARY KEY CHECK (id > 0), tx text NOT NULL);"
        "CREATE TABLE changing (x bigint)");
  }
  std::unique_ptr<HotConnection> Connect() {
    return HotConnection::Connect(database_.dsn(), {}).value();
  }
  void KillOtherConnections() {
    database_.Sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()");
  }

  TempDatabase database_;
};

absl::StatusOr<std::int64_t> Divide(ReadLane& lane, std::int64_t by, absl::Time deadline = Soon()) {
  const auto rows = Await<absl::StatusOr<HotResult>>([&](auto done) {
    lane.Submit({{&kLaneDivide, HotParams().Bigint(by)}, deadline, std::move(done)});
  });
  if (!rows.ok()) return rows.status();
  return rows->Bigint(0, 0);
}

TEST_F(Lanes, CarryEveryTypeThereAndBack) {
  const absl::Time time = absl::FromUnixMicros(-1'234'567'890'123'456);
  std::vector<HotResult> results;
  ASSERT_THAT(
      Connect()->Run(
          {{&kLaneEcho, HotParams()
                            .Bigint(-5)
                            .Boolean(true)
                            .Timestamptz(time)
                            .Text("a\"{},\\ 😀")
                            .BigintArray(std::vector<std::optional<std::int64_t>>{1, std::nullopt})
                            .TextArray({"x,y", std::nullopt, ""})
                            .UuidArray({"00112233445566778899aabbccddeeff"})},
           {&kLaneEcho, HotParams()
                            .Bigint(1)
                            .Boolean(false)
                            .Timestamptz(time)
                            .Text("")
                            .BigintArray(std::vector<std::int64_t>{})
                            .TextArray({})
                            .UuidArray({})}},
          Soon(), [&](std::size_t, HotResult result) { results.push_back(std::move(result)); }),
      IsOk());
  ASSERT_EQ(results.size(), 2);
  EXPECT_EQ(results[0].Bigint(0, 0), -5);
  EXPECT_TRUE(results[0].Boolean(0, 1));
  EXPECT_EQ(results[0].Timestamptz(0, 2), time);
  EXPECT_EQ(results[0].Text(0, 3), "a\"{},\\ 😀");
  EXPECT_EQ(results[0].Text(0, 4), "{1,NULL}");
  EXPECT_EQ(results[0].Text(0, 5), "{\"x,y\",NULL,\"\"}");
  EXPECT_TRUE(results[0].IsNull(0, 6));
  EXPECT_EQ(results[0].Text(0, 7), "{00112233-4455-6677-8899-aabbccddeeff}");
  EXPECT_EQ(results[1].Text(0, 4), "{}");
  EXPECT_EQ(results[1].Text(0, 7), "{}");
}

TEST_F(Lanes, ThatAreLentByTransaction_SetNothingThatOutlastsOne) {
  const auto connection =
      HotConnection::Connect(database_.dsn().WithPooler(Pooler::kTransaction),
                             {.lock_timeout = absl::Milliseconds(70), .synchronous_commit = false})
          .value();
  const auto run = [&](const std::vector<HotStep>& steps) {
    std::vector<std::string> texts;
    EXPECT_THAT(connection->Run(
                    steps, Soon(),
                    [&](std::size_t, HotResult result) { texts.emplace_back(result.Text(0, 0)); }),
                IsOk());
    return texts;
  };
  EXPECT_THAT(run({{&kLaneSettings, HotParams()}, {&kLaneSettings, HotParams()}}),
              Each("70ms off force_generic_plan off off off off off 1s"));
  // A step that fails costs the whole transaction, and what was set for it.
  EXPECT_THAT(connection->Run({{&kLaneDivide, HotParams().Bigint(0)}}, Soon(),
                              [](std::size_t, HotResult) {}),
              StatusIs(StatusCode::kInternal, reason::kInternal));
  EXPECT_THAT(run({{&kLaneSettings, HotParams()}}), SizeIs(1));
}

TEST_F(Lanes, WriteAllStepsOrNone) {
  const auto connection = Connect();
  const std::vector<HotStep> steps = {
      {&kWrite, HotParams().BigintArray(std::vector<std::int64_t>{1})},
      {&kLaneDivide, HotParams().Bigint(0)}};
  EXPECT_THAT(connection->Run(steps, Soon(), [](std::size_t, HotResult) {}),
              StatusIs(StatusCode::kInternal, reason::kInternal));
  EXPECT_TRUE(connection->usable());
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM written"), "0");
  EXPECT_THAT(connection->Run({steps[0]}, Soon(), [](std::size_t, HotResult) {}), IsOk());
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM written"), "1");
}

TEST_F(Lanes, GiveASilentServerUpAtTheDeadline) {
  const auto connection = Connect();
  EXPECT_THAT(connection->Run({{&kLaneSleep, HotParams().Bigint(60'000)}},
                              absl::Now() + absl::Milliseconds(50), [](std::size_t, HotResult) {}),
              StatusIs(StatusCode::kUnavailable, reason::kDatabaseUnavailable));
  EXPECT_FALSE(connection->usable());
}

TEST_F(Lanes, GiveASilentServerUpBeforeAnythingIsPreparedThere) {
  const auto connection = Connect();
  std::int64_t pid = 0;
  ASSERT_THAT(connection->Run({{&kBackend, HotParams()}}, Soon(),
                              [&](std::size_t, HotResult result) { pid = result.Bigint(0, 0); }),
              IsOk());
  ASSERT_EQ(kill(static_cast<pid_t>(pid), SIGSTOP), 0);
  EXPECT_THAT(connection->Run({{&kWrite, HotParams().BigintArray(std::vector<std::int64_t>{1})}},
                              absl::Now() + absl::Milliseconds(50), [](std::size_t, HotResult) {}),
              StatusIs(StatusCode::kUnavailable, reason::kDatabaseUnavailable));
  ASSERT_EQ(kill(static_cast<pid_t>(pid), SIGCONT), 0);
  EXPECT_FALSE(connection->usable());
  EXPECT_TRUE(connection->refused());  // nothing was sent that could have been done
}

TEST_F(Lanes, AnswerReadsThatShareABatchWithABadOne) {
  ReadLane lane(database_.dsn(), {.connections = 1});
  RunThreads(8, [&](int thread) {
    for (int i = 0; i < 20; ++i) {
      if (thread == 0) {
        EXPECT_THAT(Divide(lane, 0), StatusIs(StatusCode::kInternal, reason::kInternal));
      } else {
        EXPECT_EQ(Divide(lane, thread).value(), 100 / thread);
      }
    }
  });
}

TEST_F(Lanes, ReadAgainAfterTheConnectionsWereLost) {
  ReadLane lane(database_.dsn(), {.connections = 2});
  for (int i = 0; i < 5; ++i) {
    RunThreads(4, [&](int) { EXPECT_THAT(Divide(lane, 7), IsOk()); });
    KillOtherConnections();
  }
}

TEST_F(Lanes, ReadAgainWhenWhatWasPreparedIsStale) {
  ReadLane lane(database_.dsn(), {.connections = 1});
  const auto read = [&] {
    return Await<absl::StatusOr<HotResult>>([&](auto done) {
      lane.Submit({{&kTable, HotParams()}, Soon(), std::move(done)});
    });
  };
  ASSERT_THAT(read(), IsOk());
  database_.Sql("ALTER TABLE changing ALTER COLUMN x TYPE text");
  EXPECT_THAT(read(), IsOk());
}

TEST_F(Lanes, RefuseReadsBeyondTheirQueueAndAfterTheirDeadline) {
  ReadLane lane(database_.dsn(), {.connections = 1, .queue = 2});
  EXPECT_THAT(Divide(lane, 1), IsOk());
  std::promise<void> slept;
  lane.Submit({{&kLaneSleep, HotParams().Bigint(300)},
               Soon(),
               [&](const absl::StatusOr<HotResult>&) { slept.set_value(); }});
  absl::SleepFor(absl::Milliseconds(100));  // the lane is busy now
  std::vector<std::thread> threads;
  std::atomic<int> refused{0};
  std::atomic<int> late{0};
  for (int i = 0; i < 5; ++i) {
    threads.emplace_back([&] {
      const auto status = Divide(lane, 1, absl::Now() + absl::Milliseconds(10)).status();
      if (status.code() == StatusCode::kResourceExhausted) ++refused;
      if (status.code() == StatusCode::kDeadlineExceeded) ++late;
    });
  }
  for (std::thread& thread : threads) thread.join();
  slept.get_future().get();
  EXPECT_EQ(refused, 3);
  EXPECT_EQ(late, 2);
}

// Writes ids and adds to counters.
struct WriteOp : MergeOp {
  WriteOp(std::vector<std::int64_t> id_list, std::vector<std::int64_t> key_list)
      : ids(std::move(id_list)) {
    keys = std::move(key_list);
    deadline = Soon();
    weight = ids.size();
  }
  void Fail(const absl::Status& status) override { done.set_value(status); }
  bool KeepRepeatable() override { return repeatable; }
  std::vector<std::int64_t> ids;
  bool repeatable = true;
  std::promise<absl::Status> done;
};

class WriteMerger : public Merger {
 public:
  MergedWrites Merge(const std::vector<MergeOp*>& ops, bool now_or_never) override {
    std::vector<HotStep> steps;
    std::vector<std::int64_t> ids;
    for (MergeOp* op : ops) {
      auto* write = static_cast<WriteOp*>(op);
      ids.insert(ids.end(), write->ids.begin(), write->ids.end());
      // Statement by statement, in the order of arrival: made for deadlocks.
      for (const std::int64_t key : write->keys) {
        if (now_or_never) steps.push_back({&kLock, HotParams().Bigint(key)});
        steps.push_back({&kAdd, HotParams().BigintArray(std::vector<std::int64_t>{key})});
      }
    }
    steps.push_back({&kWrite, HotParams().BigintArray(ids)});
    return {std::move(steps), [ops](const std::vector<HotResult>&) {
              for (MergeOp* op : ops) static_cast<WriteOp*>(op)->done.set_value(absl::OkStatus());
            }};
  }
};

absl::Status Write(MergeLane& lane, std::vector<std::int64_t> ids,
                   std::vector<std::int64_t> keys = {}) {
  auto op = std::make_unique<WriteOp>(std::move(ids), std::move(keys));
  std::future<absl::Status> done = op->done.get_future();
  lane.Submit(std::move(op));
  return done.get();
}

TEST_F(Lanes, ShareACommitAmongThoseWhoComeTogether) {
  MergeLane lane(database_.dsn(), {}, std::make_unique<WriteMerger>());
  RunThreads(32, [&](int thread) {
    for (int i = 0; i < 10; ++i) EXPECT_THAT(Write(lane, {thread * 10 + i + 1}), IsOk());
  });
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM written"), "320");
  // Each commit takes whoever came while the one before was under way.
  EXPECT_LT(std::stoi(database_.Sql("SELECT count(DISTINCT tx) FROM written")), 320);
}

TEST_F(Lanes, FailTheWriteAtFaultAlone) {
  MergeLane lane(database_.dsn(), {}, std::make_unique<WriteMerger>());
  RunThreads(16, [&](int thread) {
    for (int i = 0; i < 10; ++i) {
      if (thread == 3) {
        EXPECT_THAT(Write(lane, {-1}), StatusIs(StatusCode::kInternal, reason::kInternal));
      } else {
        EXPECT_THAT(Write(lane, {thread * 10 + i + 1}), IsOk());
      }
    }
  });
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM written"), "150");
}

TEST_F(Lanes, SurfaceNoDeadlock) {
  database_.Sql(
      "DO $$ BEGIN EXECUTE format("
      "'ALTER DATABASE %I SET deadlock_timeout = 20', current_database()); END $$");
  // No lock timeout ends it before it is found.
  const MergeLane::Options patient = {.lock_timeout = absl::Minutes(1)};
  auto one = std::make_unique<MergeLane>(database_.dsn(), patient, std::make_unique<WriteMerger>());
  auto two = std::make_unique<MergeLane>(database_.dsn(), patient, std::make_unique<WriteMerger>());
  // They meet in the middle, each with half of the keys.
  parley::testing::SqlConnection blocker(database_.dsn());
  blocker.Run("BEGIN; SELECT FROM counters WHERE key = 25 FOR UPDATE");
  std::thread unblocker([&] {
    const absl::Time give_up = Soon();
    std::string waiting;
    while (waiting != "2" && absl::Now() < give_up) {
      waiting = database_.Sql(
          "SELECT count(*) FROM pg_stat_activity "
          "WHERE datname = current_database() AND wait_event_type = 'Lock'");
    }
    EXPECT_EQ(waiting, "2");
    blocker.Run("ROLLBACK");
  });
  constexpr int kThreads = 8;
  constexpr int kEach = 8;
  RunThreads(kThreads, [&](int thread) {
    for (int i = 0; i < kEach; ++i) {
      std::vector<std::int64_t> keys(50);
      std::iota(keys.begin(), keys.end(), 1);
      if (thread % 2 == 1) std::reverse(keys.begin(), keys.end());
      EXPECT_THAT(Write(thread % 2 == 0 ? *one : *two, {thread * kEach + i + 1}, keys), IsOk());
    }
  });
  unblocker.join();
  EXPECT_EQ(database_.Sql("SELECT DISTINCT n FROM counters"), absl::StrCat(kThreads * kEach));
  // There were some, as the server's statistics tell a little later: when the connections are
  // closed.
  one.reset();
  two.reset();
  const absl::Time give_up = Soon();
  std::string deadlocks = "0";
  while (deadlocks == "0" && absl::Now() < give_up) {
    deadlocks =
        database_.Sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()");
  }
  EXPECT_NE(deadlocks, "0");
}

TEST_F(Lanes, SettleWritesWhoseConnectionWasLost) {
  MergeLane lane(database_.dsn(), {}, std::make_unique<WriteMerger>());
  std::atomic<bool> stop{false};
  std::thread killer([&] {
    while (!stop) KillOtherConnections();
  });
  RunThreads(8, [&](int thread) {
    for (int i = 0; i < 50; ++i) {
      const std::int64_t id = thread * 50 + i + 1;
      // In doubt twice in a row is for the caller to settle, as it would with a request id.
      while (true) {
        const absl::Status status = Write(lane, {id});
        if (status.ok()) break;
        ASSERT_EQ(status.code(), StatusCode::kUnavailable) << status;
      }
    }
  });
  stop = true;
  killer.join();
  EXPECT_EQ(database_.Sql("SELECT count(*) || ' ' || count(DISTINCT id) FROM written"), "400 400");
}

TEST_F(Lanes, WaitForAServerThatAnswersAfterTheDeadline) {
  MergeLane lane(database_.dsn(), {}, std::make_unique<WriteMerger>());
  ASSERT_THAT(Write(lane, {1}), IsOk());
  parley::testing::SqlConnection blocker(database_.dsn());
  blocker.Run("BEGIN; LOCK TABLE written");
  auto op = std::make_unique<WriteOp>(std::vector<std::int64_t>{2}, std::vector<std::int64_t>{});
  op->repeatable = false;
  op->deadline = absl::Now() + absl::Milliseconds(60);  // less than the lock timeout
  std::future<absl::Status> done = op->done.get_future();
  lane.Submit(std::move(op));
  EXPECT_THAT(done.get(), StatusIs(StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded));
  blocker.Run("ROLLBACK");
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM written"), "1");
}

TEST_F(Lanes, LeaveWritesThatCannotBeRepeatedInDoubt) {
  MergeLane lane(database_.dsn(), {.lock_timeout = absl::Minutes(1)},
                 std::make_unique<WriteMerger>());
  ASSERT_THAT(Write(lane, {1}), IsOk());
  parley::testing::SqlConnection blocker(database_.dsn());
  blocker.Run("BEGIN; LOCK TABLE written");
  auto op = std::make_unique<WriteOp>(std::vector<std::int64_t>{2}, std::vector<std::int64_t>{});
  op->repeatable = false;
  op->deadline = absl::Now() + absl::Milliseconds(60);
  std::future<absl::Status> done = op->done.get_future();
  lane.Submit(std::move(op));
  EXPECT_THAT(done.get(), StatusIs(StatusCode::kUnknown, reason::kCommitInDoubt));
  blocker.Run("ROLLBACK");
}

TEST_F(Lanes, AnswerUnavailableWhenThereIsNoServer) {
  const Dsn nowhere = database_.dsn().With("port", "1");
  MergeLane writes(nowhere, {}, std::make_unique<WriteMerger>());
  EXPECT_THAT(Write(writes, {1}), StatusIs(StatusCode::kUnavailable, reason::kDatabaseUnavailable));
  ReadLane reads(nowhere, {});
  EXPECT_THAT(Divide(reads, 1), StatusIs(StatusCode::kUnavailable, reason::kDatabaseUnavailable));
}

}  // namespace
}  // namespace parley::db
