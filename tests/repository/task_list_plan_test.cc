// How PostgreSQL runs the lists of tasks, and the search for leases that have run out, in big
// tables: with plans that know the values and with plans that do not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "db/repository/statements.h"
#include "tests/support/plan.h"
#include "tests/support/temp_database.h"

namespace parley::testing {
namespace {

using nlohmann::json;
namespace task_list = db::sql::task_list;

// A statement for PREPARE: each :name becomes a parameter, and `values` the list of their values.
struct PreparedText {
  std::string sql;
  std::string values;
};
PreparedText PrepareNamed(const db::Statement& statement,
                          const std::map<std::string, std::string>& values) {
  PreparedText prepared;
  const std::string sql(statement.sql);
  std::map<std::string, int> numbers;
  std::vector<std::string> in_order;
  for (std::size_t i = 0; i < sql.size();) {
    const bool name = sql[i] == ':' && i + 1 < sql.size() && std::islower(sql[i + 1]) != 0 &&
                      (i == 0 || sql[i - 1] != ':');
    if (!name) {
      prepared.sql += sql[i++];
      continue;
    }
    std::size_t end = ++i;
    while (end < sql.size() && (std::islower(sql[end]) != 0 || sql[end] == '_')) ++end;
    const std::string key = sql.substr(i, end - i);
    if (numbers.emplace(key, static_cast<int>(numbers.size()) + 1).second)
      in_order.push_back(values.at(key));
    absl::StrAppend(&prepared.sql, "$", numbers[key]);
    i = end;
  }
  if (!in_order.empty()) prepared.values = absl::StrCat("(", absl::StrJoin(in_order, ", "), ")");
  return prepared;
}

// The tables are filled once.
class TaskListPlanTest : public ::testing::Test {
 protected:
  // 100,000 tasks that are pending, 100,000 that have ended, 100,000 that are dead, nearly all of
  // the queue "m". Of "a" and "z" there are ten of each kind, older than all others. The latest
  // 5,000 of "m" run too, and their leases have run out.
  static void SetUpTestSuite() {
    database_ = std::make_unique<TempDatabase>();
    const auto queue = [](const char* rare) {
      return absl::StrCat("CASE WHEN i > ", rare, " THEN 'm' WHEN i % 2 = 0 THEN 'a' ELSE 'z' END");
    };
    database_->Sql(absl::StrCat(
        "SELECT extend_task_history((now() AT TIME ZONE 'UTC')::date - 2,"
        "                           (now() AT TIME ZONE 'UTC')::date);"
        "INSERT INTO tasks (id, queue, name, payload, run_at, priority, max_attempts, state, "
        "attempt,"
        "                   lease_token, lease_until)"
        " SELECT i, ",
        queue("40"),
        ", 'n', '', now() + interval '1 day', i % 10, 3,"
        "  CASE WHEN r THEN 'running' ELSE 'pending' END, r::int,"
        "  CASE WHEN r THEN gen_random_uuid() END,"
        "  CASE WHEN r THEN now() + CASE WHEN i > 95000 THEN -1 ELSE 1 END * interval '1 h' END"
        " FROM (SELECT i, i <= 20 OR i > 95000 AS r FROM generate_series(1, 100000) AS i) AS i_r;"
        "INSERT INTO task_history (id, finished_at, queue, name, payload, headers, run_at, "
        "priority,"
        "                          state, attempt, max_attempts, errors, created_at)"
        " SELECT 200000 + i, now() - (i % 3) * interval '1 day', ",
        queue("60"),
        ", 'n', '', '{}', now(),"
        "  0, CASE WHEN i <= 20 THEN 'expired' WHEN i <= 40 OR i % 10 = 0 THEN 'cancelled'"
        "     ELSE 'succeeded' END, 1, 3, '[]', now()"
        " FROM generate_series(1, 100000) AS i;"
        "INSERT INTO dead_tasks (id, died_at, queue, name, payload, headers, run_at, priority, "
        "attempt,"
        "                        max_attempts, errors, created_at)"
        " SELECT 400000 + i, now() - interval '1 day' + i * interval '1 ms', ",
        queue("20"),
        ", 'n', '', '{}', now(), 0, 3, 3, '[]', now()"
        " FROM generate_series(1, 100000) AS i;"));
    database_->Sql("VACUUM ANALYZE tasks");
    database_->Sql("VACUUM ANALYZE task_history");
    database_->Sql("VACUUM ANALYZE dead_tasks");
  }
  static void TearDownTestSuite() { database_.reset(); }

  // Runs the statement with the plan that `mode` makes, in a transaction that is rolled back; the
  // nodes of the plan, with what they really did.
  static std::vector<json> Explain(const std::string& mode, const db::Statement& statement,
                                   const std::map<std::string, std::string>& values) {
    const PreparedText prepared = PrepareNamed(statement, values);
    return PlanNodes(database_->Sql(absl::StrCat(
        "SET plan_cache_mode = ", mode, "; BEGIN; PREPARE explained AS ", prepared.sql,
        "; EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE explained", prepared.values)));
  }

  // All that a page needs: the index down to it, and ten tasks by their ids, each looked for in a
  // dozen tables. To pass over all the tasks of one kind takes well over a thousand blocks.
  static constexpr int kMostBlocks = 500;

  static void ExpectReadsLittle(const db::Statement& statement, const std::string& queue,
                                const std::string& state, int rows) {
    for (const char* mode : {"force_generic_plan", "force_custom_plan"}) {
      SCOPED_TRACE(absl::StrCat(statement.name, " of '", queue, "' ", state, " ", mode));
      const std::vector<json> nodes = Explain(mode, statement,
                                              {{"queue", absl::StrCat("'", queue, "'")},
                                               {"state", absl::StrCat("'", state, "'")},
                                               {"name", "''"},
                                               {"died_us", "NULL"},
                                               {"up_to", "9223372036854775806"},
                                               {"limit", "11"},
                                               {"offset", "0"},
                                               {"max_bytes", "3145728"}});
      EXPECT_EQ(RowsOf(nodes[0]), rows);
      const int blocks =
          nodes[0].value("Shared Hit Blocks", 0) + nodes[0].value("Shared Read Blocks", 0);
      EXPECT_LT(blocks, kMostBlocks) << json(nodes[0]).dump(1);
    }
  }

  static std::unique_ptr<TempDatabase> database_;
};
std::unique_ptr<TempDatabase> TaskListPlanTest::database_;

TEST_F(TaskListPlanTest, AListOfAllQueuesReadsNotMuchMoreThanItsPage) {
  ExpectReadsLittle(task_list::All, "", "", 11);
  ExpectReadsLittle(task_list::Pending, "", "", 11);
  ExpectReadsLittle(task_list::Running, "", "", 11);
  ExpectReadsLittle(task_list::Succeeded, "", "", 11);
  ExpectReadsLittle(task_list::Unsuccessful, "", "cancelled", 11);
  ExpectReadsLittle(task_list::Unsuccessful, "", "expired", 11);
  ExpectReadsLittle(task_list::Dead, "", "", 11);
  ExpectReadsLittle(task_list::ByDeath, "", "", 11);
}

TEST_F(TaskListPlanTest, AListOfOneQueueReadsNotMuchMoreThanItsPageHoweverMuchIsElsewhere) {
  for (const char* queue : {"a", "m", "z"}) {
    const bool rare = *queue != 'm';
    ExpectReadsLittle(task_list::OfQueue, queue, "", 11);
    ExpectReadsLittle(task_list::PendingOfQueue, queue, "", rare ? 10 : 11);
    ExpectReadsLittle(task_list::RunningOfQueue, queue, "", rare ? 10 : 11);
    ExpectReadsLittle(task_list::SucceededOfQueue, queue, "", *queue == 'a' ? 8 : rare ? 10 : 11);
    ExpectReadsLittle(task_list::UnsuccessfulOfQueue, queue, "expired", rare ? 10 : 0);
    ExpectReadsLittle(task_list::DeadOfQueue, queue, "", rare ? 10 : 11);
    ExpectReadsLittle(task_list::ByDeathOfQueue, queue, "", rare ? 10 : 11);
  }
  ExpectReadsLittle(task_list::UnsuccessfulOfQueue, "m", "cancelled", 11);
}

TEST_F(TaskListPlanTest, APageDeepInTheListCostsNoMoreThanTheFirst) {
  for (const char* mode : {"force_generic_plan", "force_custom_plan"}) {
    for (const db::Statement* statement :
         {&task_list::All, &task_list::OfQueue, &task_list::SucceededOfQueue,
          &task_list::DeadOfQueue, &task_list::ByDeathOfQueue}) {
      SCOPED_TRACE(absl::StrCat(statement->name, " ", mode));
      const std::vector<json> nodes = Explain(
          mode, *statement,
          {{"queue", "'m'"},
           {"name", "''"},
           {"died_us", database_->Sql("SELECT (extract(epoch FROM died_at) * 1000000)::bigint"
                                      " FROM dead_tasks WHERE id = 401000")},
           {"up_to",
            statement == &task_list::SucceededOfQueue ? "201000"
            : statement == &task_list::DeadOfQueue || statement == &task_list::ByDeathOfQueue
                ? "401000"
                : "1000"},
           {"limit", "11"},
           {"offset", "0"},
           {"max_bytes", "3145728"}});
      EXPECT_EQ(RowsOf(nodes[0]), 11);
      EXPECT_LT(nodes[0].value("Shared Hit Blocks", 0) + nodes[0].value("Shared Read Blocks", 0),
                kMostBlocks)
          << json(nodes[0]).dump(1);
    }
  }
}

TEST_F(TaskListPlanTest, TheSearchForExpiredLeasesReadsOnlyWhatRuns) {
  for (const char* mode : {"force_generic_plan", "force_custom_plan"}) {
    SCOPED_TRACE(mode);
    const std::vector<json> nodes = Explain(mode, db::sql::task::LockExpiredLeases,
                                            {{"max_tasks", "10"}, {"max_bytes", "1000000"}});
    EXPECT_EQ(RowsOf(nodes[0]), 10);
    EXPECT_LT(nodes[0].value("Shared Hit Blocks", 0) + nodes[0].value("Shared Read Blocks", 0),
              kMostBlocks)
        << json(nodes[0]).dump(1);
  }
}

TEST_F(TaskListPlanTest, WhatMovesOrRemovesTasksOfOneQueueReadsNoOthers) {
  const auto ten_of = [](const db::Statement& statement, const std::string& queue) {
    for (const char* mode : {"force_generic_plan", "force_custom_plan"}) {
      SCOPED_TRACE(absl::StrCat(statement.name, " of ", queue, " ", mode));
      const std::vector<json> nodes = Explain(mode, statement,
                                              {{"queue", absl::StrCat("'", queue, "'")},
                                               {"after", "0"},
                                               {"up_to", "500000"},
                                               {"days", "0"},
                                               {"max_tasks", "10"},
                                               {"max_bytes", "1000000"}});
      EXPECT_EQ(RowsOf(nodes[0]), 10);
      EXPECT_LT(nodes[0].value("Shared Hit Blocks", 0) + nodes[0].value("Shared Read Blocks", 0),
                kMostBlocks)
          << json(nodes[0]).dump(1);
    }
  };
  for (const char* queue : {"a", "m", "z"}) {
    ten_of(db::sql::task::LockDeadTasks, queue);
    ten_of(db::sql::queue::PurgeTasks, queue);
    ten_of(db::sql::queue::PurgeDeadTasks, queue);
  }
  ten_of(db::sql::task::DropDeadTasks, "m");
}

}  // namespace
}  // namespace parley::testing
