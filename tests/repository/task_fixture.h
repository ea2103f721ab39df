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
#include "db/repository/task_repository.h"
#include "tests/support/temp_database.h"

namespace parley::testing {

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

  static db::RequestKey Request(const std::string& id = "", const std::string& fingerprint = "f") {
    return {.operation = "CreateTask", .scope_id = 0, .id = id, .fingerprint = fingerprint};
  }

  Task Create(const NewTask& task) {
    absl::StatusOr<Task> created = tasks_.CreateTask(task, Request(), Deadline());
    EXPECT_TRUE(created.ok()) << created.status();
    return created.ok() ? *std::move(created) : Task();
  }

  struct Claimed {
    std::string token;
    std::vector<Task> tasks;
  };
  Claimed Claim(std::vector<std::string> queues, std::int32_t max_tasks = 1,
                absl::Duration lease = absl::Minutes(1)) {
    Claimed claimed{absl::StrFormat("%032x", ++tokens_), {}};
    absl::StatusOr<std::vector<Task>> tasks =
        tasks_.ClaimTasks({std::move(queues), max_tasks, lease, claimed.token}, Deadline());
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
  std::int64_t tokens_ = 0;
};

}  // namespace parley::testing
