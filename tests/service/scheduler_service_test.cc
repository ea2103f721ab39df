#include "services/scheduler/scheduler_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/service/scheduler_process.h"

namespace parley::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsSupersetOf;
using ::testing::SizeIs;

TEST_F(SchedulerTest, ACreatedTaskIsReadBackAsItWasAsked) {
  pb::CreateTaskRequest request = NewTaskRequest();
  request.set_payload(std::string("\0\xff", 2));
  (*request.mutable_headers())["trace"] = "abc";
  request.mutable_run_time()->set_seconds(4102444800);
  request.mutable_run_time()->set_nanos(123456000);
  request.set_priority(7);
  request.set_max_attempts(4);
  const pb::Task created = Create(process_, request);
  grpc::ClientContext context;
  pb::GetTaskRequest get;
  get.set_task_id(created.id());
  pb::Task read;
  ASSERT_TRUE(process_.scheduler().GetTask(&context, get, &read).ok());
  EXPECT_EQ(read.SerializeAsString(), created.SerializeAsString());
  EXPECT_EQ(read.payload(), request.payload());
  EXPECT_EQ(read.headers().at("trace"), "abc");
  EXPECT_EQ(read.run_time().seconds(), 4102444800);
  EXPECT_EQ(read.run_time().nanos(), 123456000);
  EXPECT_EQ(read.state(), pb::TASK_STATE_PENDING);
  EXPECT_EQ(read.max_attempts(), 4);
  EXPECT_FALSE(read.has_lease_until());
  EXPECT_FALSE(read.has_local_time());
}

TEST_F(SchedulerTest, SaysHowALocalTimeWasResolved) {
  pb::CreateTaskRequest request = NewTaskRequest();
  request.mutable_local_time()->set_date_time("2030-03-31T02:30:00");
  const pb::Task task = Create(process_, request);
  EXPECT_EQ(task.local_time_resolution(), pb::LOCAL_TIME_RESOLUTION_SHIFTED);
  EXPECT_EQ(task.local_time().time_zone(), "Europe/Berlin");
  EXPECT_EQ(task.local_time().gap_policy(), pb::GAP_POLICY_SHIFT);
  EXPECT_EQ(task.run_time().seconds(), 1901151000);  // 03:30 in summer time
}

TEST_F(SchedulerTest, NamesEveryFieldThatIsWrong) {
  pb::CreateTaskRequest request;
  request.set_queue("not a queue");
  request.set_priority(10);
  request.set_request_id("with blanks");
  request.mutable_local_time()->set_time_zone("Mars/Olympus");
  pb::Task task;
  const grpc::Status status = Create(process_, request, &task);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(Fields(status), IsSupersetOf({"queue", "name", "priority", "request_id",
                                            "local_time.date_time", "local_time.time_zone"}));
}

TEST_F(SchedulerTest, ARequestIdCreatesOneTaskThroughTwoProcesses) {
  SchedulerProcess other(database_);
  pb::CreateTaskRequest request = NewTaskRequest();
  request.set_request_id("once");
  request.mutable_delay()->set_seconds(3600);
  std::vector<pb::Task> created(8);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < created.size(); ++i) {
    threads.emplace_back(
        [&, i] { EXPECT_TRUE(Create(i % 2 == 0 ? process_ : other, request, &created[i]).ok()); });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::int64_t> ids;
  for (const pb::Task& task : created) ids.insert(task.id());
  EXPECT_THAT(ids, SizeIs(1));
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM tasks"), "1");

  request.mutable_delay()->set_seconds(3601);
  pb::Task task;
  const grpc::Status reused = Create(process_, request, &task);
  EXPECT_EQ(reused.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(Reason(reused), "REQUEST_ID_REUSED");
}

TEST_F(SchedulerTest, PagesThroughAQueue) {
  for (int i = 0; i < 5; ++i) Create(process_, NewTaskRequest());
  Create(process_, NewTaskRequest("other"));
  pb::ListTasksRequest request;
  request.set_queue("q");
  request.set_limit(2);
  std::vector<std::size_t> sizes;
  std::set<std::int64_t> ids;
  do {
    grpc::ClientContext context;
    pb::ListTasksResponse page;
    ASSERT_TRUE(process_.scheduler().ListTasks(&context, request, &page).ok());
    sizes.push_back(static_cast<std::size_t>(page.tasks_size()));
    for (const pb::Task& task : page.tasks()) ids.insert(task.id());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(sizes, ElementsAre(2, 2, 1));
  EXPECT_THAT(ids, SizeIs(5));
}

TEST_F(SchedulerTest, APageTokenBelongsToItsList) {
  for (int i = 0; i < 2; ++i) Create(process_, NewTaskRequest());
  pb::ListTasksRequest request;
  request.set_limit(1);
  pb::ListTasksResponse page;
  grpc::ClientContext first;
  ASSERT_TRUE(process_.scheduler().ListTasks(&first, request, &page).ok());
  request.set_page_token(page.next_page_token());
  request.set_state(pb::TASK_STATE_DEAD);
  grpc::ClientContext second;
  EXPECT_THAT(Fields(process_.scheduler().ListTasks(&second, request, &page)),
              Contains("page_token"));
}

TEST_F(SchedulerTest, ListsDeadTasksByTheirDeathsWithWhatWentWrong) {
  std::vector<std::int64_t> ids;
  for (const std::string name : {"a", "b", "b"}) {
    pb::CreateTaskRequest request = NewTaskRequest();
    request.set_name(name);
    Create(process_, request);
    const auto leases = Lease(process_, "q", absl::ZeroDuration());
    ASSERT_THAT(leases, SizeIs(1));
    pb::FailTaskRequest fail;
    fail.set_task_id(leases[0].task().id());
    fail.set_lease_token(leases[0].lease_token());
    fail.set_error("no " + name);
    fail.set_for_good(true);
    grpc::ClientContext context;
    pb::Task task;
    ASSERT_TRUE(process_.worker().FailTask(&context, fail, &task).ok());
    ids.insert(ids.begin(), task.id());
  }
  pb::ListDeadTasksRequest request;
  request.set_limit(1);
  std::vector<std::int64_t> seen;
  do {
    grpc::ClientContext context;
    pb::ListDeadTasksResponse page;
    ASSERT_TRUE(process_.scheduler().ListDeadTasks(&context, request, &page).ok());
    for (const pb::Task& task : page.tasks()) {
      seen.push_back(task.id());
      EXPECT_EQ(task.last_error(), "no " + task.name());
      EXPECT_EQ(task.errors_size(), 1);
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(seen, ids);

  request.set_queue("q");
  request.set_name("a");
  grpc::ClientContext named;
  pb::ListDeadTasksResponse page;
  ASSERT_TRUE(process_.scheduler().ListDeadTasks(&named, request, &page).ok());
  ASSERT_EQ(page.tasks_size(), 1);
  EXPECT_EQ(page.tasks(0).id(), ids.back());
}

TEST_F(SchedulerTest, AListOfDeadTasksNamesAllThatIsWrong) {
  pb::ListDeadTasksRequest request;
  request.set_limit(-1);
  request.set_offset(-1);
  request.set_page_token("no token");
  request.set_queue("no spaces");
  request.set_name(std::string(257, 'n'));
  grpc::ClientContext context;
  pb::ListDeadTasksResponse page;
  const grpc::Status status = process_.scheduler().ListDeadTasks(&context, request, &page);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  for (const std::string field : {"limit", "offset", "page_token", "queue", "name"}) {
    EXPECT_THAT(Fields(status), Contains(field));
  }
}

TEST_F(SchedulerTest, CancelsWhatNoWorkerHasAndAsksTheWorkerOfTheRest) {
  pb::CancelTaskRequest request;
  request.set_task_id(Create(process_, NewTaskRequest()).id());
  pb::Task task;
  for (int i = 0; i < 2; ++i) {
    grpc::ClientContext context;
    ASSERT_TRUE(process_.scheduler().CancelTask(&context, request, &task).ok());
    EXPECT_EQ(task.state(), pb::TASK_STATE_CANCELLED);
  }
  request.set_task_id(Create(process_, NewTaskRequest()).id());
  const auto leases = Lease(process_, "q", absl::ZeroDuration());
  ASSERT_THAT(leases, SizeIs(1));
  grpc::ClientContext held;
  ASSERT_TRUE(process_.scheduler().CancelTask(&held, request, &task).ok());
  EXPECT_EQ(task.state(), pb::TASK_STATE_RUNNING);
  EXPECT_TRUE(task.cancel_requested());
  ASSERT_TRUE(Ack(process_, leases[0], &task).ok());
  grpc::ClientContext ended;
  const grpc::Status refused = process_.scheduler().CancelTask(&ended, request, &task);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(Reason(refused), "TASK_ENDED");
  request.set_task_id(987654321);
  grpc::ClientContext unknown;
  EXPECT_EQ(Reason(process_.scheduler().CancelTask(&unknown, request, &task)), "TASK_NOT_FOUND");
}

}  // namespace
}  // namespace parley::testing
