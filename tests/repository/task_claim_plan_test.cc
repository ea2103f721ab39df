// How PostgreSQL runs the claim when many tasks are parked for later.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "db/core/hot_connection.h"
#include "db/repository/statements.h"
#include "tests/repository/task_fixture.h"
#include "tests/support/plan.h"

namespace parley::testing {
namespace {

using nlohmann::json;

class TaskClaimPlanTest : public TaskRepositoryTest {
 protected:
  // 20,000 tasks for later and 300 due ones, of all priorities.
  void FillTable() {
    database_.Sql(
        "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts) "
        "SELECT 'q', 'n', '', CASE WHEN i > 300 THEN now() + interval '1 day' ELSE now() END, "
        "i % 10, 3 FROM generate_series(1, 20300) AS i");
    database_.Sql("ANALYZE tasks");
  }

  // Runs the claim as the hot lane does, with a plan that does not know the values, and returns the
  // nodes of that plan with what they really did.
  std::vector<json> Claim(const std::string& queues, int max_tasks) {
    return PlanNodes(database_.Sql(
        absl::StrCat(db::kHotSettings, "; PREPARE claim AS ", db::sql::task_hot::ClaimTasks.sql,
                     "; EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE claim('", queues, "', ", max_tasks,
                     ", 3145728, '00000000000000000000000000000001', 1000000)")));
  }
};

TEST_F(TaskClaimPlanTest, ReadsOnlyWhatItTakesFromTheDueIndex) {
  FillTable();
  double read = 0;
  for (const json& node : Claim("{q}", 25)) {
    const std::string type = node["Node Type"];
    EXPECT_NE(type, "Seq Scan");
    EXPECT_NE(type, "Bitmap Heap Scan");
    if (node.value("Index Name", "") != "tasks_due") continue;
    EXPECT_EQ(type, "Index Scan");
    EXPECT_THAT(std::string(node["Index Cond"]), ::testing::HasSubstr("run_at <= now()"));
    EXPECT_EQ(node.value("Rows Removed by Filter", 0), 0);
    read += RowsOf(node);
  }
  EXPECT_EQ(read, 25);
}

TEST_F(TaskClaimPlanTest, SortsNoBacklogButOnlyHowQueuesInterleave) {
  FillTable();
  for (const json& node : Claim("{q,r,s}", 25)) {
    const std::string type = node["Node Type"];
    if (type == "Sort" || type == "Incremental Sort") {
      EXPECT_LE(RowsOf(node), 25 * 3);
    }
    if (type != "LockRows") continue;
    // What is locked comes from the index in its order.
    EXPECT_EQ(node["Plans"][0]["Node Type"], "Index Scan");
    EXPECT_EQ(node["Plans"][0]["Index Name"], "tasks_due");
  }
}

TEST_F(TaskClaimPlanTest, WalksNoIndexFromEndToEndThoughPlannedOnAnEmptyTable) {
  for (const json& node : Claim("{q}", 25)) {
    if (node.value("Relation Name", "") != "tasks" || node["Node Type"] == "ModifyTable") continue;
    EXPECT_TRUE(node.contains("Index Cond") || node.contains("TID Cond")) << node.dump(2);
  }
}

}  // namespace
}  // namespace parley::testing
