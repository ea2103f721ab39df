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
#ifdef NDEBUG
  static constexpr int kDue = 100'000;
#else
  static constexpr int kDue = 10'000;  // the sanitizers have other things to find
#endif

  // Due tasks of all priorities, and ten times as many for later.
  void FillTable() {
    database_.Sql(absl::StrCat(
        "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts) "
        "SELECT 'q', 'n', '', now() + CASE WHEN i > ",
        kDue, " THEN interval '1 day' ELSE '0' END, i % 10, 3 FROM generate_series(1, ", 11 * kDue,
        ") AS i"));
    database_.Sql("ANALYZE tasks");
  }

  // Runs the claim as the hot lane does, with a plan that does not know the values, and returns the
  // nodes of that plan with what they really did.
  std::vector<json> Claim(const std::string& queues, int max_tasks) {
    return PlanNodes(database_.Sql(
        absl::StrCat(db::kHotSettings, "; PREPARE claim AS ", db::sql::task_hot::ClaimTasks.sql,
                     "; EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE claim('", queues, "', ",
                     max_tasks, ", 3145728, '00000000000000000000000000000001', 1000000)")));
  }

  static void ExpectReadsOnlyWhatItTakes(const std::vector<json>& nodes, int max_tasks) {
    // Of the whole statement, and with what it writes into the indexes: some blocks a task, of the
    // thousands or tens of thousands that there are.
    const int blocks =
        nodes[0].value("Shared Hit Blocks", 0) + nodes[0].value("Shared Read Blocks", 0);
    EXPECT_GT(blocks, max_tasks);
    EXPECT_LT(blocks, max_tasks * 20);
    double read = 0;
    for (const json& node : nodes) {
      const std::string type = node["Node Type"];
      EXPECT_NE(type, "Seq Scan");
      EXPECT_NE(type, "Bitmap Heap Scan");
      if (node.value("Index Name", "") != "tasks_due") continue;
      EXPECT_EQ(type, "Index Scan");
      EXPECT_THAT(std::string(node["Index Cond"]), ::testing::HasSubstr("run_at <= now()"));
      EXPECT_EQ(node.value("Rows Removed by Filter", 0), 0);
      read += RowsOf(node);
    }
    EXPECT_EQ(read, max_tasks);
  }

  static void ExpectSortsNoBacklog(const std::vector<json>& nodes, int max_sorted) {
    for (const json& node : nodes) {
      const std::string type = node["Node Type"];
      if (type == "Sort" || type == "Incremental Sort") {
        EXPECT_LE(RowsOf(node), max_sorted);
      }
      if (type != "LockRows") continue;
      // What is locked comes from the index in its order.
      EXPECT_EQ(node["Plans"][0]["Node Type"], "Index Scan");
      EXPECT_EQ(node["Plans"][0]["Index Name"], "tasks_due");
    }
  }
};

// One test, because to fill the table takes many seconds.
TEST_F(TaskClaimPlanTest, ReadsOnlyWhatItTakesAndSortsOnlyHowQueuesInterleave) {
  FillTable();
  ExpectReadsOnlyWhatItTakes(Claim("{q}", 25), 25);
  ExpectSortsNoBacklog(Claim("{q,r,s}", 25), 25 * 3);
}

TEST_F(TaskClaimPlanTest, WalksNoIndexFromEndToEndThoughPlannedOnAnEmptyTable) {
  for (const json& node : Claim("{q}", 25)) {
    if (node.value("Relation Name", "") != "tasks" || node["Node Type"] == "ModifyTable") continue;
    EXPECT_TRUE(node.contains("Index Cond") || node.contains("TID Cond")) << node.dump(2);
  }
}

}  // namespace
}  // namespace parley::testing
