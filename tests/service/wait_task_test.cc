#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "tests/service/scheduler_process.h"

namespace parley::testing {
namespace {

using ::testing::Contains;

class WaitTaskTest : public SchedulerTest {
 protected:
  struct Answer {
    grpc::Status status;
    pb::Task task;
  };
  static Answer Wait(SchedulerProcess& process, std::int64_t task_id, absl::Duration wait_for) {
    pb::WaitTaskRequest request;
    request.set_task_id(task_id);
    *request.mutable_wait_for() = runtime::ToDuration(wait_for);
    grpc::ClientContext context;
    Answer answer;
    answer.status = process.scheduler().WaitTask(&context, request, &answer.task);
    return answer;
  }
  // A task that a worker on a stream asks for.
  static pb::Lease StreamLease(
      grpc::ClientReaderWriterInterface<pb::WorkRequest, pb::WorkResponse>& stream) {
    pb::WorkRequest request;
    request.set_credit(1);
    stream.Write(request);
    pb::WorkResponse frame;
    while (frame.leases().empty() && stream.Read(&frame)) {
    }
    return frame.leases().empty() ? pb::Lease() : frame.leases(0);
  }
  static std::future<Answer> StartWaiting(SchedulerProcess& process, std::int64_t task_id) {
    return std::async(std::launch::async,
                      [&process, task_id] { return Wait(process, task_id, absl::Seconds(50)); });
  }
};

TEST_F(WaitTaskTest, IsAnsweredWhenTheTaskEndsHereOrElsewhere) {
  SchedulerProcess other(database_);
  for (int round = 0; round < 10; ++round) {
    const pb::Task task = Create(process_, NewTaskRequest());
    std::vector<std::future<Answer>> answers;
    for (int i = 0; i < 4; ++i) {
      answers.push_back(StartWaiting(i % 2 == 0 ? process_ : other, task.id()));
    }
    const auto leases = Lease(process_, "q", absl::Seconds(10));
    ASSERT_EQ(leases.size(), 1);
    pb::Task done;
    ASSERT_TRUE(Ack(round % 2 == 0 ? process_ : other, leases[0], &done).ok());
    for (std::future<Answer>& future : answers) {
      const Answer answer = future.get();
      EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
      EXPECT_EQ(answer.task.SerializeAsString(), done.SerializeAsString());
    }
  }
}

// What is parked before the task ends.
class ParkedWait {
 public:
  ParkedWait(SchedulerProcess& process, std::int64_t task_id) {
    request_.set_task_id(task_id);
    process.scheduler().async()->WaitTask(
        &context_, &request_, &task_,
        [this](const grpc::Status& status) { done_.set_value(status); });
  }
  ~ParkedWait() {
    context_.TryCancel();
    answer_.wait();
  }
  // UNSPECIFIED, and the test fails, if there is no answer.
  pb::TaskState EndState() {
    EXPECT_EQ(answer_.wait_for(std::chrono::seconds(30)), std::future_status::ready);
    return task_.state();
  }

 private:
  grpc::ClientContext context_;
  pb::WaitTaskRequest request_;
  pb::Task task_;
  std::promise<grpc::Status> done_;
  std::future<grpc::Status> answer_ = done_.get_future();
};

TEST_F(WaitTaskTest, WhoeverEndsATaskHereWakesThoseWhoWaitHere) {
  SchedulerProcess process(database_, {.at_ends = absl::Hours(1)});
  grpc::ClientContext context;
  const auto stream = process.worker().Work(&context);
  pb::WorkRequest hello;
  hello.mutable_hello()->add_queues("q");
  stream->Write(hello);
  const auto lease = [&] { return Lease(process, "q", absl::Seconds(10)).at(0); };
  const auto ack_of = [](const pb::Lease& of) {
    pb::AckTaskRequest ack;
    ack.set_task_id(of.task().id());
    ack.set_lease_token(of.lease_token());
    return ack;
  };
  const auto fail_of = [](const pb::Lease& of) {
    pb::FailTaskRequest fail;
    fail.set_task_id(of.task().id());
    fail.set_lease_token(of.lease_token());
    fail.set_for_good(true);
    return fail;
  };
  const std::vector<std::pair<pb::TaskState, std::function<void(std::int64_t)>>> ends = {
      {pb::TASK_STATE_CANCELLED,
       [&](std::int64_t id) {
         pb::CancelTaskRequest request;
         request.set_task_id(id);
         pb::Task task;
         grpc::ClientContext cancel;
         EXPECT_TRUE(process.scheduler().CancelTask(&cancel, request, &task).ok());
       }},
      {pb::TASK_STATE_SUCCEEDED,
       [&](std::int64_t) {
         pb::Task task;
         EXPECT_TRUE(Ack(process, lease(), &task).ok());
       }},
      {pb::TASK_STATE_DEAD,
       [&](std::int64_t) {
         pb::Task task;
         grpc::ClientContext fail;
         EXPECT_TRUE(process.worker().FailTask(&fail, fail_of(lease()), &task).ok());
       }},
      {pb::TASK_STATE_SUCCEEDED,
       [&](std::int64_t) {
         pb::WorkRequest request;
         *request.add_acks() = ack_of(StreamLease(*stream));
         stream->Write(request);
       }},
      {pb::TASK_STATE_DEAD, [&](std::int64_t) {
         pb::WorkRequest request;
         *request.add_fails() = fail_of(StreamLease(*stream));
         stream->Write(request);
       }}};
  for (std::size_t i = 0; i < ends.size(); ++i) {
    SCOPED_TRACE(i);
    const pb::Task task = Create(process, NewTaskRequest());
    ParkedWait wait(process, task.id());
    // It is parked once one that came after it has been answered.
    EXPECT_EQ(Wait(process, task.id(), absl::ZeroDuration()).task.state(), pb::TASK_STATE_PENDING);
    ends[i].second(task.id());
    EXPECT_EQ(wait.EndState(), ends[i].first);
  }
  context.TryCancel();
}

TEST_F(WaitTaskTest, ShowsTheTaskAsItIsWhenTheWaitIsOver) {
  const pb::Task task = Create(process_, NewTaskRequest());
  for (const absl::Duration wait_for : {absl::ZeroDuration(), absl::Milliseconds(150)}) {
    const Answer answer = Wait(process_, task.id(), wait_for);
    EXPECT_TRUE(answer.status.ok());
    EXPECT_EQ(answer.task.SerializeAsString(), task.SerializeAsString());
  }
}

TEST_F(WaitTaskTest, WhoComesWhileAServerGoesDownIsAnsweredAtOnce) {
  const pb::Task task = Create(process_, NewTaskRequest());
  db::SessionPool pool(database_.dsn(), db::PoolOptions());
  db::TaskRepository tasks(pool);
  std::promise<absl::StatusOr<Task>> shown;
  std::future<absl::StatusOr<Task>> answer = shown.get_future();
  scheduler::EndWatch watch(tasks, {.on_ended = [] {}});
  watch.Drain();
  watch.Enter({.task_id = task.id(),
               .give_up = absl::InfiniteFuture(),
               .check_alive = [] { return absl::OkStatus(); },
               .done = [&](absl::StatusOr<Task> found) { shown.set_value(std::move(found)); }});
  ASSERT_EQ(answer.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  const absl::StatusOr<Task> found = answer.get();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->state, TaskState::kPending);
}

TEST_F(WaitTaskTest, KnowsNoOtherTasks) {
  const Answer answer = Wait(process_, 987654321, absl::Seconds(50));
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Reason(answer.status), "TASK_NOT_FOUND");
  EXPECT_THAT(Fields(Wait(process_, 0, absl::Seconds(61)).status), Contains("wait_for"));
}

}  // namespace
}  // namespace parley::testing
