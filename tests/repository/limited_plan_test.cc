// How PostgreSQL runs what limits need, when much is blocked and parked for later.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "db/core/hot_connection.h"
#include "db/repository/statements.h"
#include "tests/support/plan.h"
#include "tests/support/temp_database.h"

namespace parley::testing {
namespace {

using nlohmann::json;

class LimitedPlans : public ::testing::Test {
 protected:
  // A task of the key "big" runs and keeps 100,000 blocked; 300 with 300 other keys are due; 20,000
  // are not due yet.
  static void FillTable(const TempDatabase& database) {
    database.Sql(
        "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts, concurrency_key, "
        "                   blocked, state, attempt, lease_token, lease_until) "
        "SELECT 'q', 'n', '', now() - interval '1 h', 0, 3, 'big', i > 1, "
        "CASE WHEN i = 1 THEN 'running' ELSE 'pending' END, (i = 1)::int, "
        "CASE WHEN i = 1 THEN gen_random_uuid() END, CASE WHEN i = 1 THEN now() END "
        "FROM generate_series(1, 100001) AS i;"
        "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts, concurrency_key) "
        "SELECT 'q', 'n', '', CASE WHEN i > 300 THEN now() + interval '1 day' ELSE now() END, "
        "i % 10, 3, 'k' || i FROM generate_series(1, 20300) AS i;"
        "ANALYZE tasks");
  }

  // Runs statements as the hot lane does, with plans that do not know the values, in a transaction
  // that is rolled back; returns the nodes of the last one's plan with what they really did.
  static std::vector<json> Explain(const TempDatabase& database, const db::Statement& statement,
                                   const std::string& values, const std::string& before = "") {
    return PlanNodes(database.Sql(absl::StrCat(
        db::kHotSettings, "; BEGIN; ", before, "; PREPARE explained AS ", statement.sql,
        "; EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE explained(", values, ")")));
  }
  // From a queue with these columns.
  static std::vector<json> Claim(const TempDatabase& database, int max_tasks,
                                 const std::string& limits) {
    return Explain(
        database, db::sql::limited::ClaimLimitedTasks,
        absl::StrCat("'q', ", max_tasks, ", 3145728, '00000000000000000000000000000001', 1000000"),
        absl::StrCat(limits, "; PREPARE lock AS ", db::sql::limited::LockLimitedQueue.sql,
                     "; EXECUTE lock('q')"));
  }

  // Every look at a table of tasks or queues goes through an index, with a condition. (That of a
  // bitmap is in the node below.)
  static void ExpectIndexesOnly(const std::vector<json>& nodes) {
    for (const json& node : nodes) {
      if (!node.contains("Relation Name") || node["Node Type"] == "ModifyTable" ||
          node["Node Type"] == "Bitmap Heap Scan") {
        continue;
      }
      EXPECT_TRUE(node.contains("Index Cond")) << node.dump(2);
    }
  }
  // Rows that were read by way of an index.
  static double ReadFrom(const std::string& index, const std::vector<json>& nodes) {
    double rows = 0;
    for (const json& node : nodes) {
      if (node.value("Index Name", "") != index) continue;
      rows +=
          RowsOf(node) + node.value("Rows Removed by Filter", 0) * node.value("Actual Loops", 0);
    }
    return rows;
  }
};

// The table is filled once.
class LimitedPlanTest : public LimitedPlans {
 protected:
  static void SetUpTestSuite() {
    database_ = std::make_unique<TempDatabase>();
    FillTable(*database_);
  }
  static void TearDownTestSuite() { database_.reset(); }

  static std::unique_ptr<TempDatabase> database_;
};
std::unique_ptr<TempDatabase> LimitedPlanTest::database_;

TEST_F(LimitedPlanTest, AClaimByKeyReadsNothingThatIsBlockedForAnotherOrNotDue) {
  const std::vector<json> nodes =
      Claim(*database_, 25, "INSERT INTO queues (name, max_running_per_key) VALUES ('q', 1)");
  ExpectIndexesOnly(nodes);
  EXPECT_EQ(ReadFrom("tasks_due", nodes), 300);
  // One probe a key, and one that finds no more.
  EXPECT_LE(ReadFrom("tasks_blocked", nodes), 2);
  EXPECT_LE(ReadFrom("tasks_running", nodes), 2);
  EXPECT_EQ(ReadFrom("tasks_pkey", nodes), 25 * 2);  // to lock them, and to change them
  for (const json& node : nodes) {
    if (node.value("Index Name", "") != "tasks_due") continue;
    EXPECT_THAT(std::string(node["Index Cond"]), ::testing::HasSubstr("run_at <= now()"));
  }
}

TEST_F(LimitedPlanTest, AClaimWithoutKeysReadsHardlyMoreThanItTakes) {
  const std::vector<json> nodes =
      Claim(*database_, 100, "INSERT INTO queues (name, max_running) VALUES ('q', 21)");
  ExpectIndexesOnly(nodes);
  EXPECT_EQ(ReadFrom("tasks_due", nodes), 20 + 20);
  EXPECT_EQ(ReadFrom("tasks_blocked", nodes), 0);
  EXPECT_EQ(ReadFrom("tasks_running", nodes), 1);
}

TEST_F(LimitedPlanTest, AClaimThatMayTakeNothingReadsNothing) {
  const std::vector<json> nodes =
      Claim(*database_, 100,
            "INSERT INTO queues (name, max_running, max_running_per_key) VALUES ('q', 1, 1)");
  EXPECT_EQ(ReadFrom("tasks_due", nodes), 0);
  EXPECT_EQ(ReadFrom("tasks_blocked", nodes), 0);
}

TEST_F(LimitedPlanTest, KnowsWithAFewProbesWhenToClaim) {
  const std::vector<json> nodes =
      Explain(*database_, db::sql::limited::NextDueLimited, "'{q}'",
              "INSERT INTO queues (name, max_running_per_key) VALUES ('q', 1), ('r', 1)");
  ExpectIndexesOnly(nodes);
  EXPECT_EQ(ReadFrom("tasks_due", nodes), 10);
  EXPECT_LE(ReadFrom("tasks_blocked", nodes), 2);
}

TEST_F(LimitedPlans, MadeForEmptyTablesAreTheSame) {
  const TempDatabase database;
  const std::string limits = "INSERT INTO queues (name, max_running_per_key) VALUES ('q', 1)";
  ExpectIndexesOnly(Claim(database, 25, limits));
  ExpectIndexesOnly(Explain(database, db::sql::limited::NextDueLimited, "'{q}'", limits));
}

TEST_F(LimitedPlans, OfAcksAskOnceWhichQueuesAreLimitedHoweverManyThereAre) {
  const TempDatabase database;
  database.Sql(
      "INSERT INTO queues (name, max_running) "
      "SELECT 'queue-' || i, CASE WHEN i <= 3 THEN 1 END FROM generate_series(1, 2000) AS i;"
      "INSERT INTO tasks (id, queue, name, payload, run_at, priority, max_attempts, state, "
      "attempt, "
      "                   lease_token, lease_until) "
      "SELECT i, 'queue-' || i, 'n', '', now(), 0, 1, 'running', 1, "
      "'00000000000000000000000000000001', now() FROM generate_series(1, 50) AS i;"
      "ANALYZE queues; ANALYZE tasks");
  std::vector<std::string> ids;
  for (int id = 1; id <= 50; ++id) ids.push_back(absl::StrCat(id));
  const std::vector<std::string> tokens(50, "00000000000000000000000000000001");
  const std::vector<std::string> results(50, R"("")");
  const auto array = [](const std::vector<std::string>& values) {
    return absl::StrCat("'{", absl::StrJoin(values, ","), "}'");
  };
  const std::vector<json> nodes =
      Explain(database, db::sql::task_hot::AckTasks,
              absl::StrJoin({array(ids), array(tokens), array(results)}, ", "));
  EXPECT_EQ(ReadFrom("queues_limited", nodes), 3);
  EXPECT_EQ(ReadFrom("queues_pkey", nodes), 0);
}

}  // namespace
}  // namespace parley::testing
