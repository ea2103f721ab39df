#include "db/repository/statistics_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/repository/task_fixture.h"

namespace parley::db {
namespace {

using ::testing::AllOf;
using ::testing::Ge;
using ::testing::Lt;

class StatisticsRepositoryTest : public parley::testing::TaskRepositoryTest {
 protected:
  // A task that has been due for so long.
  void CreateDue(const std::string& queue, absl::Duration since) {
    NewTask task = MakeTask(queue);
    const std::int64_t id = Create(task).id;
    database_.Sql(absl::StrCat("UPDATE tasks SET run_at = now() - interval '",
                               absl::ToInt64Seconds(since), " s' WHERE id = ", id));
  }

  absl::Duration OldestDue() {
    const auto age = statistics_.GetOldestDueTask(Deadline());
    EXPECT_TRUE(age.ok()) << age.status();
    return age.value_or(absl::InfiniteDuration());
  }

  StatisticsRepository statistics_{database_.pool()};
};

TEST_F(StatisticsRepositoryTest, OldestDueTask_IsThatOfAnyQueueAndPriority) {
  EXPECT_EQ(OldestDue(), absl::ZeroDuration());
  NewTask later = MakeTask("a");
  later.delay = absl::Hours(1);
  Create(later);
  EXPECT_EQ(OldestDue(), absl::ZeroDuration());
  CreateDue("b", absl::Seconds(100));
  CreateDue("c", absl::Seconds(50));
  EXPECT_THAT(OldestDue(), AllOf(Ge(absl::Seconds(100)), Lt(absl::Seconds(900))));
  NewTask urgent = MakeTask("c");
  urgent.priority = 9;
  Create(urgent);
  CreateDue("z", absl::Seconds(1000));
  EXPECT_THAT(OldestDue(), AllOf(Ge(absl::Seconds(1000)), Lt(absl::Seconds(1900))));
}

TEST_F(StatisticsRepositoryTest, OldestDueTask_IsNoneOfAPausedQueueNorOneThatHasExpired) {
  CreateDue("paused", absl::Seconds(1000));
  database_.Sql("INSERT INTO queues (name, paused_at) VALUES ('paused', now())");
  CreateDue("expired", absl::Seconds(1000));
  database_.Sql("UPDATE tasks SET expires_at = now() - interval '1 s' WHERE queue = 'expired'");
  CreateDue("other", absl::Seconds(10));
  EXPECT_THAT(OldestDue(), AllOf(Ge(absl::Seconds(10)), Lt(absl::Seconds(900))));
}

TEST_F(StatisticsRepositoryTest, TableRows_AreOfTheTablesThatThereAre) {
  for (int i = 0; i < 5; ++i) Create(MakeTask());
  database_.Sql("DELETE FROM tasks WHERE id = (SELECT min(id) FROM tasks)");
  database_.Sql("ANALYZE tasks");
  const absl::Time start = absl::Now();
  std::vector<StatisticsRepository::TableRows> rows;
  // What a backend counts is there for others a moment later.
  while (rows.empty() || rows.back().live != 4 || rows.back().dead < 1) {
    ASSERT_LT(absl::Now(), start + absl::Seconds(20));
    auto read = statistics_.GetTableRows({"users", "no_such_table", "tasks"}, Deadline());
    ASSERT_TRUE(read.ok()) << read.status();
    rows = *std::move(read);
    ASSERT_EQ(rows.size(), 2U);
    EXPECT_EQ(rows.front().table, "tasks");
    std::swap(rows.front(), rows.back());
  }
}

TEST_F(StatisticsRepositoryTest, OldestXmin_IsThatOfTheOldestTransaction) {
  parley::testing::SqlConnection holder(database_.dsn());
  holder.Run("BEGIN ISOLATION LEVEL REPEATABLE READ");
  holder.Run("SELECT count(*) FROM users");
  for (int i = 0; i < 5; ++i) database_.Sql("SELECT pg_current_xact_id()");
  const auto after = statistics_.GetOldestXmin(Deadline());
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_GE(*after, 5);
  holder.Run("ROLLBACK");
}

}  // namespace
}  // namespace parley::db
