// What the tests of TaskRepository share.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "db/repository/keyed_task_creator.h"
#include "db/repository/task_acker.h"
#include "db/repository/task_claimer.h"
#include "db/repository/task_creator.h"
#include "db/repository/task_repository.h"
#include "tests/support/await.h"
#include "tests/support/temp_database.h"

namespace parley::testing {

// Of no lease.
inline constexpr char kNoToken[] = "ffffffffffffffffffffffffffffffff";

class TaskRepositoryTest : public ::testing::Test {
 protected:
  static absl::Time Deadline() { return absl::Now() + absl::Seconds(20); }

  static NewTask MakeTask(const std::string& queue = "q") {
    NewTask task;
    task.queue = queue;
    task.name = "work";
    task.max_attempts = 3;
    return task;
  }

  absl::StatusOr<db::CreatedTask> TryCreate(const NewTask& task, const std::string& request_id = "",
                                            const std::string& fingerprint = "f") {
    return Await<db::TaskCreator::Outcomes>([&](auto done) {
             creator_.Create({{task, request_id, fingerprint}}, Deadline(), std::move(done));
           })
        .front();
  }

  Task Create(const NewTask& task) {
    const absl::StatusOr<db::CreatedTask> created = TryCreate(task);
    EXPECT_TRUE(created.ok()) << created.status();
    if (!created.ok()) return Task();
    absl::StatusOr<Task> read = tasks_.GetTask(created->id, Deadline());
    EXPECT_TRUE(read.ok()) << read.status();
    return read.ok() ? *std::move(read) : Task();
  }

  // As whoever acks is told.
  absl::StatusOr<Task> Ack(const LeaseKey& lease, const std::string& result = "") {
    const auto held = Await<absl::StatusOr<std::vector<bool>>>([&](auto done) {
      acker_.Ack({{lease.task_id, lease.token, result}}, Deadline(), std::move(done));
    });
    EXPECT_TRUE(held.ok()) << held.status();
    return tasks_.GetAckedTask(lease, Deadline());
  }

  struct Claimed {
    std::string token;
    std::vector<Task> tasks;
  };
  Claimed Claim(std::vector<std::string> queues, std::int32_t max_tasks = 1,
                absl::Duration lease = absl::Minutes(1)) {
    Claimed claimed{absl::StrFormat("%032x", ++tokens_), {}};
    absl::StatusOr<std::vector<Task>> tasks =
        claimer_.Claim({std::move(queues), max_tasks, lease, claimed.token}, Deadline());
    EXPECT_TRUE(tasks.ok()) << tasks.status();
    if (tasks.ok()) claimed.tasks = *std::move(tasks);
    return claimed;
  }

  static std::vector<std::int64_t> Ids(const std::vector<Task>& tasks) {
    std::vector<std::int64_t> ids;
    for (const Task& task : tasks) ids.push_back(task.id);
    return ids;
  }

  // As if the leases had run out a while ago.
  void ExpireLeases() {
    database_.Sql("UPDATE tasks SET lease_until = now() - interval '1 s' WHERE state = 'running'");
  }

  TempDatabase database_;
  db::TaskRepository tasks_{database_.pool()};
  db::TaskCreator creator_{database_.dsn(), {}};
  db::KeyedTaskCreator keyed_creator_{database_.pool()};
  db::TaskAcker acker_{database_.dsn(), {}};
  db::TaskClaimer claimer_{database_.dsn()};
  std::int64_t tokens_ = 0;
};

}  // namespace parley::testing
