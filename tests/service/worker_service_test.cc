#include "services/scheduler/worker_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "tests/service/scheduler_process.h"

namespace parley::testing {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::SizeIs;

constexpr absl::Duration kLong = absl::Seconds(20);

absl::Time RunTime(const pb::Task& task) {
  return absl::FromUnixSeconds(task.run_time().seconds()) +
         absl::Nanoseconds(task.run_time().nanos());
}

class WorkerTest : public SchedulerTest {
 protected:
  WorkerTest() = default;
  explicit WorkerTest(const SchedulerProcess::Looks& looks) : SchedulerTest(looks) {}

  // A worker that waits in `process`; returns once it is parked. Tells when it was answered, too.
  struct Answer {
    std::vector<pb::Lease> leases;
    absl::Time time;
  };
  std::future<Answer> StartWaiting(SchedulerProcess& process, const std::string& queue = "q") {
    const absl::Time since = absl::Now();
    std::future<Answer> answer = std::async(std::launch::async, [&process, queue] {
      Answer result;
      result.leases = Lease(process, queue, kLong);
      result.time = absl::Now();
      return result;
    });
    WaitUntilParked(database_, since);
    return answer;
  }

  // Two tasks, leased for half a minute.
  std::vector<pb::Lease> LeaseTwo() {
    for (int i = 0; i < 2; ++i) Create(process_, NewTaskRequest());
    auto leases = Lease(process_, "q", absl::ZeroDuration(), 2, absl::Seconds(30));
    EXPECT_THAT(leases, SizeIs(2));
    leases.resize(2);
    return leases;
  }
  // As if a minute had passed: who looks for leases that ran out finds that of the second task
  // only.
  void ExpectOnlyTheSecondRunsOut(const std::vector<pb::Lease>& leases) {
    database_.Sql("UPDATE tasks SET lease_until = lease_until - interval '1 minute'");
    const auto again = Lease(process_, "q", kLong, 2);
    ASSERT_THAT(again, SizeIs(1));
    EXPECT_EQ(again[0].task().id(), leases[1].task().id());
  }

  grpc::Status Fail(const pb::Lease& lease, pb::Task* task) {
    pb::FailTaskRequest request;
    request.set_task_id(lease.task().id());
    request.set_lease_token(lease.lease_token());
    request.set_error("no luck");
    grpc::ClientContext context;
    return process_.worker().FailTask(&context, request, task);
  }

  grpc::Status Extend(const pb::Lease& lease, absl::Duration duration, pb::Task* task) {
    pb::ExtendLeaseRequest request;
    request.set_task_id(lease.task().id());
    request.set_lease_token(lease.lease_token());
    *request.mutable_lease_duration() = runtime::ToDuration(duration);
    grpc::ClientContext context;
    return process_.worker().ExtendLease(&context, request, task);
  }
};

TEST_F(WorkerTest, ALeaseCarriesTheTaskATokenAndWhatIsLeftOfIt) {
  Create(process_, NewTaskRequest());
  const auto leases = Lease(process_, "q", absl::ZeroDuration(), 5, absl::Seconds(40));
  ASSERT_THAT(leases, SizeIs(1));
  EXPECT_THAT(leases[0].lease_token(), SizeIs(32));
  EXPECT_EQ(leases[0].task().state(), pb::TASK_STATE_RUNNING);
  EXPECT_EQ(leases[0].task().attempt(), 1);
  EXPECT_TRUE(leases[0].task().has_lease_until());
  EXPECT_GE(leases[0].lease_duration().seconds(), 35);
  EXPECT_LT(leases[0].lease_duration().seconds(), 40);
}

TEST_F(WorkerTest, DoesNotWaitUnlessAsked) {
  const absl::Time start = absl::Now();
  EXPECT_THAT(Lease(process_, "q", absl::ZeroDuration()), IsEmpty());
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
}

TEST_F(WorkerTest, AWaitThatEndsIsAnsweredWithNothing) {
  const absl::Time start = absl::Now();
  EXPECT_THAT(Lease(process_, "q", absl::Milliseconds(200)), IsEmpty());
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(200));
}

TEST_F(WorkerTest, AWaitEndsBeforeTheCallsDeadline) {
  pb::LeaseTasksRequest request;
  request.add_queues("q");
  request.mutable_wait_for()->set_seconds(60);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
  pb::LeaseTasksResponse response;
  const grpc::Status status = process_.worker().LeaseTasks(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(response.leases(), IsEmpty());
}

// Nobody looks at tasks of his own accord: who is not told waits in vain.
class WakingTest : public WorkerTest {
 protected:
  static constexpr SchedulerProcess::Looks kNoLooks = {.at_tasks = absl::Hours(10)};
  WakingTest() : WorkerTest(kNoLooks) {}
};

TEST_F(WakingTest, AWaitingWorkerIsWokenByATaskOfTheSameProcess) {
  auto waiting = StartWaiting(process_);
  const pb::Task task = Create(process_, NewTaskRequest());
  const Answer answer = waiting.get();
  ASSERT_THAT(answer.leases, SizeIs(1));
  EXPECT_EQ(answer.leases[0].task().id(), task.id());
}

TEST_F(WakingTest, AWaitingWorkerIsWokenByATaskOfAnotherProcess) {
  SchedulerProcess other(database_);
  auto waiting = StartWaiting(process_);
  const pb::Task task = Create(other, NewTaskRequest());
  const Answer answer = waiting.get();
  ASSERT_THAT(answer.leases, SizeIs(1));
  EXPECT_EQ(answer.leases[0].task().id(), task.id());
}

TEST_F(WakingTest, AWaitingWorkerGetsALaterTaskAtItsTime) {
  SchedulerProcess other(database_);
  for (SchedulerProcess* creator : {&process_, &other}) {
    auto waiting = StartWaiting(process_);
    pb::CreateTaskRequest request = NewTaskRequest();
    *request.mutable_delay() = runtime::ToDuration(absl::Milliseconds(700));
    const pb::Task task = Create(*creator, request);
    const Answer answer = waiting.get();
    ASSERT_THAT(answer.leases, SizeIs(1));
    EXPECT_GE(answer.time, RunTime(task));
  }
}

TEST_F(WorkerTest, ATaskWithoutAHintIsFoundByLooking) {
  auto waiting = StartWaiting(process_);
  database_.Sql(
      "INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts) "
      "VALUES ('q', 'n', '', now(), 0, 1)");
  EXPECT_THAT(waiting.get().leases, SizeIs(1));
}

TEST_F(WorkerTest, ManyWaitingWorkersOfTwoProcessesNeverGetATaskTwice) {
  constexpr int kTasks = 60;
  SchedulerProcess other(database_);
  Mutex mutex;
  std::map<std::int64_t, int> deliveries;
  std::vector<std::thread> workers;
  for (int i = 0; i < 8; ++i) {
    workers.emplace_back([&, i] {
      SchedulerProcess& process = i % 2 == 0 ? process_ : other;
      const absl::Time give_up = absl::Now() + absl::Minutes(1);
      const auto all_done = [&] {
        MutexLock lock(mutex);
        return deliveries.size() == kTasks;
      };
      while (!all_done() && absl::Now() < give_up) {
        const auto leases = Lease(process, "q", absl::Milliseconds(500), 3);
        for (const pb::Lease& lease : leases) {
          pb::Task acked;
          EXPECT_TRUE(Ack(process, lease, &acked).ok());
          MutexLock lock(mutex);
          ++deliveries[lease.task().id()];
        }
      }
    });
  }
  for (int i = 0; i < kTasks; ++i) {
    pb::CreateTaskRequest request = NewTaskRequest();
    *request.mutable_delay() = runtime::ToDuration(absl::Milliseconds(10 * (i % 20)));
    Create(i % 3 == 0 ? other : process_, request);
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_THAT(deliveries, SizeIs(kTasks));
  for (const auto& [id, times] : deliveries) EXPECT_EQ(times, 1) << id;
}

TEST_F(WorkerTest, ALeaseThatRunsOutIsHandedOutAgainAndItsTokenIsStale) {
  const pb::Task task = Create(process_, NewTaskRequest());
  const auto lost = Lease(process_, "q", absl::ZeroDuration(), 1, absl::Seconds(1));
  ASSERT_THAT(lost, SizeIs(1));
  const auto again = Lease(process_, "q", kLong);
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_EQ(again[0].task().id(), task.id());
  EXPECT_EQ(again[0].task().attempt(), 2);
  EXPECT_NE(again[0].lease_token(), lost[0].lease_token());

  const std::string before = database_.Sql("SELECT t::text FROM tasks AS t");
  pb::Task ignored;
  for (const grpc::Status& status : {Ack(process_, lost[0], &ignored), Fail(lost[0], &ignored),
                                     Extend(lost[0], absl::Seconds(5), &ignored)}) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
    EXPECT_EQ(Reason(status), "LEASE_LOST");
  }
  EXPECT_EQ(database_.Sql("SELECT t::text FROM tasks AS t"), before);
}

TEST_F(WorkerTest, AnAckedTaskIsNeverHandedOutAgain) {
  const auto leases = LeaseTwo();
  for (int i = 0; i < 2; ++i) {
    pb::Task acked;
    ASSERT_TRUE(Ack(process_, leases[0], &acked).ok());
    EXPECT_EQ(acked.state(), pb::TASK_STATE_SUCCEEDED);
  }
  ExpectOnlyTheSecondRunsOut(leases);
}

TEST_F(WakingTest, AFailedTaskComesBackAfterASecond) {
  Create(process_, NewTaskRequest());
  const auto first = Lease(process_, "q", absl::ZeroDuration());
  ASSERT_THAT(first, SizeIs(1));
  pb::Task failed;
  ASSERT_TRUE(Fail(first[0], &failed).ok());
  EXPECT_EQ(failed.state(), pb::TASK_STATE_PENDING);
  EXPECT_EQ(failed.last_error(), "no luck");
  const auto second = Lease(process_, "q", kLong);
  ASSERT_THAT(second, SizeIs(1));
  EXPECT_EQ(second[0].task().attempt(), 2);
  EXPECT_GE(absl::Now(), RunTime(failed));
}

TEST_F(WorkerTest, ATaskIsDeadWhenItsLastAttemptFails) {
  pb::CreateTaskRequest request = NewTaskRequest();
  request.set_max_attempts(1);
  Create(process_, request);
  const auto leases = Lease(process_, "q", absl::ZeroDuration());
  ASSERT_THAT(leases, SizeIs(1));
  pb::Task failed;
  ASSERT_TRUE(Fail(leases[0], &failed).ok());
  EXPECT_EQ(failed.state(), pb::TASK_STATE_DEAD);
  EXPECT_THAT(Lease(process_, "q", absl::ZeroDuration()), IsEmpty());
}

TEST_F(WorkerTest, AnExtendedLeaseDoesNotRunOut) {
  const auto leases = LeaseTwo();
  pb::Task extended;
  ASSERT_TRUE(Extend(leases[0], absl::Minutes(5), &extended).ok());
  ExpectOnlyTheSecondRunsOut(leases);
  EXPECT_TRUE(Ack(process_, leases[0], &extended).ok());
}

TEST_F(WorkerTest, ACallerThatHasLeftGetsNoTask) {
  pb::LeaseTasksRequest request;
  request.add_queues("q");
  request.mutable_wait_for()->set_seconds(30);
  grpc::ClientContext context;
  const absl::Time since = absl::Now();
  std::thread leaver([&] {
    pb::LeaseTasksResponse response;
    EXPECT_EQ(process_.worker().LeaseTasks(&context, request, &response).error_code(),
              grpc::StatusCode::CANCELLED);
  });
  WaitUntilParked(database_, since);
  context.TryCancel();
  leaver.join();
  Create(process_, NewTaskRequest());
  const auto leases = Lease(process_, "q", kLong);
  ASSERT_THAT(leases, SizeIs(1));
  EXPECT_EQ(leases[0].task().attempt(), 1);
}

TEST_F(WorkerTest, NamesEveryFieldThatIsWrong) {
  pb::LeaseTasksRequest request;
  request.mutable_wait_for()->set_seconds(61);
  request.set_max_tasks(-1);
  pb::LeaseTasksResponse response;
  grpc::ClientContext lease;
  EXPECT_THAT(Fields(process_.worker().LeaseTasks(&lease, request, &response)),
              IsSupersetOf({"queues", "wait_for", "max_tasks"}));
  pb::Task task;
  EXPECT_THAT(Fields(Ack(process_, pb::Lease(), &task)), IsSupersetOf({"task_id", "lease_token"}));
  EXPECT_THAT(Fields(Extend(pb::Lease(), absl::Hours(2), &task)), Contains("lease_duration"));
}

}  // namespace
}  // namespace parley::testing
