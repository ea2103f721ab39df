// Lists of tasks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/repository/task_fixture.h"
#include "tests/support/status_matchers.h"

namespace parley::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class TaskListTest : public TaskRepositoryTest {
 protected:
  // A task that is dead.
  std::int64_t Kill(const NewTask& task, const std::string& error = "broken") {
    const std::int64_t id = Create(task).id;
    const Claimed claimed = Claim({task.queue});
    EXPECT_THAT(Ids(claimed.tasks), ElementsAre(id));
    EXPECT_THAT(tasks_.EndAttempt({.lease = {id, claimed.token},
                                   .kind = AttemptEnd::Kind::kFailedForGood,
                                   .error = error},
                                  Deadline()),
                IsOk());
    return id;
  }
  // As if it had died so long ago.
  void Age(std::int64_t id, absl::Duration age) {
    database_.Sql(absl::StrCat("UPDATE dead_tasks SET died_at = now() - interval '",
                               absl::ToInt64Microseconds(age), " us' WHERE id = ", id));
  }

  // All of the list, by pages of `limit`.
  std::vector<Task> List(db::TaskRepository::ListParams params, std::int32_t limit = 2) {
    params.page.limit = limit;
    std::vector<Task> all;
    do {
      const auto page = tasks_.ListTasks(params, Deadline());
      EXPECT_THAT(page, IsOk());
      if (!page.ok()) break;
      all.insert(all.end(), page->rows.begin(), page->rows.end());
      params.page.after = page->next;
    } while (params.page.after);
    return all;
  }
  std::vector<Task> ListDead(db::TaskRepository::ListDeadParams params, std::int32_t limit = 2) {
    params.page.limit = limit;
    std::vector<Task> all;
    do {
      const auto page = tasks_.ListDeadTasks(params, Deadline());
      EXPECT_THAT(page, IsOk());
      if (!page.ok()) break;
      all.insert(all.end(), page->rows.begin(), page->rows.end());
      params.page.after = page->next;
    } while (params.page.after);
    return all;
  }
};

TEST_F(TaskListTest, ListsTheLatestFirstInPagesThatNeitherSkipNorRepeat) {
  std::vector<std::int64_t> ids;
  for (int i = 0; i < 5; ++i) ids.insert(ids.begin(), Create(MakeTask()).id);
  db::TaskRepository::ListParams params;
  params.page.limit = 2;
  std::vector<std::int64_t> seen;
  do {
    const auto page = tasks_.ListTasks(params, Deadline());
    ASSERT_THAT(page, IsOk());
    for (const Task& task : page->rows) seen.push_back(task.id);
    params.page.after = page->next;
    Create(MakeTask());  // later tasks come before the first page
  } while (params.page.after);
  EXPECT_THAT(seen, ElementsAreArray(ids));
}

TEST_F(TaskListTest, CutsAPageThatWouldWeighTooMuch) {
  NewTask heavy = MakeTask();
  heavy.payload.assign(1 << 20, 'x');
  for (int i = 0; i < 4; ++i) Create(heavy);
  db::TaskRepository::ListParams params;
  std::vector<std::size_t> sizes;
  do {
    const auto page = tasks_.ListTasks(params, Deadline());
    ASSERT_THAT(page, IsOk());
    sizes.push_back(page->rows.size());
    params.page.after = page->next;
  } while (params.page.after);
  EXPECT_THAT(sizes, ElementsAre(2, 2));
  EXPECT_THAT(Claim({"q"}, 100).tasks, SizeIs(2));
}

TEST_F(TaskListTest, EveryFilterFindsWhatItNamesAndNothingElse) {
  // What each task is to be found by, the greatest id first.
  std::map<std::pair<std::string, TaskState>, std::vector<std::int64_t>> expected;
  for (int round = 0; round < 3; ++round) {
    for (const std::string queue : {"a", "b", "c"}) {
      const auto add = [&](TaskState state, std::int64_t id) {
        std::vector<std::int64_t>& ids = expected[{queue, state}];
        ids.insert(ids.begin(), id);
      };
      add(TaskState::kDead, Kill(MakeTask(queue)));
      add(TaskState::kRunning, Create(MakeTask(queue)).id);
      Claim({queue});
      const std::int64_t acked = Create(MakeTask(queue)).id;
      ASSERT_THAT(Ack({acked, Claim({queue}).token}), IsOk());
      add(TaskState::kSucceeded, acked);
      NewTask later = MakeTask(queue);
      later.delay = absl::Hours(1);
      const std::int64_t cancelled = Create(later).id;
      ASSERT_THAT(tasks_.CancelTask(cancelled, Deadline()), IsOk());
      add(TaskState::kCancelled, cancelled);
      NewTask late = MakeTask(queue);
      late.expire_time = absl::Now() - absl::Hours(1);
      add(TaskState::kExpired, Create(late).id);
      ASSERT_THAT(tasks_.ExpireTasks(10, Deadline()), IsOkAndHolds(1));
      add(TaskState::kPending, Create(later).id);
    }
  }
  const auto all_of = [&](const std::string& queue, std::optional<TaskState> state) {
    std::vector<std::int64_t> ids;
    for (const auto& [key, of_key] : expected) {
      if (!queue.empty() && key.first != queue) continue;
      if (state && key.second != *state) continue;
      ids.insert(ids.end(), of_key.begin(), of_key.end());
    }
    std::sort(ids.rbegin(), ids.rend());
    return ids;
  };
  for (const std::string queue : {"", "a", "b", "c", "d"}) {
    for (int state = -1; state <= static_cast<int>(TaskState::kExpired); ++state) {
      db::TaskRepository::ListParams params;
      params.queue = queue;
      if (state >= 0) params.state = static_cast<TaskState>(state);
      SCOPED_TRACE(absl::StrCat("queue ", queue, " state ", state));
      const std::vector<std::int64_t> ids = all_of(queue, params.state);
      EXPECT_EQ(Ids(List(params)), ids);
      params.page.offset = 1;
      EXPECT_EQ(Ids(List(params, 100)),
                std::vector<std::int64_t>(ids.begin() + (ids.empty() ? 0 : 1), ids.end()));
    }
  }
}

TEST_F(TaskListTest, APageHasAHundredTasksAtMost) {
  database_.Sql(
      "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts) "
      "SELECT 'q', 'n', '', now(), 0, 3 FROM generate_series(1, 250)");
  db::TaskRepository::ListParams params;
  params.page.limit = 200;
  EXPECT_THAT(tasks_.ListTasks(params, Deadline())->rows, SizeIs(100));
  EXPECT_THAT(List(params, 200), SizeIs(250));
}

TEST_F(TaskListTest, TheLatestDeathComesFirstWithAllItsErrors) {
  NewTask named = MakeTask();
  named.name = "other";
  const std::int64_t first = Kill(MakeTask(), "no luck");
  const std::int64_t second = Kill(named);
  const std::int64_t third = Kill(MakeTask());
  const std::int64_t elsewhere = Kill(MakeTask("elsewhere"));
  Age(first, absl::Hours(1));
  Age(second, absl::Hours(3));
  Age(third, absl::Hours(2));
  Age(elsewhere, absl::Hours(4));
  EXPECT_THAT(Ids(ListDead({})), ElementsAre(first, third, second, elsewhere));
  EXPECT_THAT(Ids(ListDead({.queue = "q"})), ElementsAre(first, third, second));
  EXPECT_THAT(Ids(ListDead({.name = "other"})), ElementsAre(second));
  EXPECT_THAT(Ids(ListDead({.queue = "q", .name = "work"}, 1)), ElementsAre(first, third));
  EXPECT_THAT(ListDead({.queue = "none"}), IsEmpty());
  const Task dead = ListDead({}).front();
  EXPECT_EQ(dead.state, TaskState::kDead);
  ASSERT_THAT(dead.errors, SizeIs(1));
  EXPECT_EQ(dead.errors[0].text, "no luck");
  // One that is driven again is none of them.
  ASSERT_THAT(tasks_.RedriveTask(third, Deadline()), IsOk());
  EXPECT_THAT(Ids(ListDead({.queue = "q"})), ElementsAre(first, second));
}

TEST_F(TaskListTest, DeathsAtTheSameTimeAreNeitherSkippedNorRepeated) {
  std::vector<std::int64_t> ids;
  for (int i = 0; i < 5; ++i) ids.insert(ids.begin(), Kill(MakeTask()));
  database_.Sql("UPDATE dead_tasks SET died_at = '2026-01-01T00:00:00.123457Z'");
  EXPECT_THAT(Ids(ListDead({})), ElementsAreArray(ids));
  EXPECT_THAT(Ids(ListDead({.queue = "q"})), ElementsAreArray(ids));
}

TEST_F(TaskListTest, APageOfDeadTasksIsCutAsOthersAre) {
  NewTask heavy = MakeTask();
  heavy.payload.assign(1 << 20, 'x');
  for (int i = 0; i < 4; ++i) Kill(heavy);
  db::TaskRepository::ListDeadParams params;
  const auto page = tasks_.ListDeadTasks(params, Deadline());
  ASSERT_THAT(page, IsOk());
  EXPECT_THAT(page->rows, SizeIs(2));
  EXPECT_TRUE(page->next);
  EXPECT_THAT(ListDead(params, 20), SizeIs(4));
}

}  // namespace
}  // namespace parley::testing
