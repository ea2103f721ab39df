// What the tests of dedupe keys share.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/repository/task_fixture.h"

namespace parley::testing {

inline constexpr DedupePolicy kReject = DedupePolicy::kReject;
inline constexpr DedupePolicy kReplace = DedupePolicy::kReplace;
inline constexpr DedupePolicy kKeep = DedupePolicy::kKeep;

class DedupeTest : public TaskRepositoryTest {
 protected:
  static db::CreateTaskParams Keyed(const std::string& key, DedupePolicy policy,
                                    const std::string& payload = "") {
    NewTask task = MakeTask();
    task.payload = payload;
    task.dedupe = {.key = key, .policy = policy};
    return {.task = std::move(task), .request_id = "", .fingerprint = payload};
  }

  absl::StatusOr<Task> TryCreateKeyed(const db::CreateTaskParams& params) {
    return keyed_creator_.CreateOne(params, Deadline());
  }

  // The id of the task that it led to; 0, and the test fails, if it was refused.
  std::int64_t CreateKeyed(const db::CreateTaskParams& params) {
    const absl::StatusOr<Task> created = TryCreateKeyed(params);
    EXPECT_TRUE(created.ok()) << created.status();
    return created.ok() ? created->id : 0;
  }

  Task Get(std::int64_t id) { return tasks_.GetTask(id, Deadline()).value(); }

  LeaseKey ClaimOne() {
    const Claimed claimed = Claim({"q"});
    EXPECT_EQ(claimed.tasks.size(), 1);
    return {claimed.tasks.empty() ? 0 : claimed.tasks[0].id, claimed.token};
  }

  // Looks at all keys, as the reaper does in time.
  void SweepKeys() {
    database_.Sql("UPDATE task_keys SET look_at = now()");
    EXPECT_TRUE(tasks_.SweepDedupeKeys(500, Deadline()).ok());
  }
  std::string Keys() const { return database_.Sql("SELECT count(*) FROM task_keys"); }
  std::string Tasks() const { return database_.Sql("SELECT count(*) FROM all_tasks"); }
};

}  // namespace parley::testing
