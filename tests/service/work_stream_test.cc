// The Work stream as workers see it: many at once, on two processes, some of which break off.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "tests/service/scheduler_process.h"

namespace parley::testing {
namespace {

// A worker on a stream, for one thread.
class StreamWorker {
 public:
  explicit StreamWorker(SchedulerProcess& process) : stream_(process.worker().Work(&context_)) {}

  bool Hello(const std::string& queue, std::int32_t credit) {
    pb::WorkRequest request;
    request.mutable_hello()->add_queues(queue);
    request.set_credit(credit);
    return Tell(request);
  }
  bool Tell(const pb::WorkRequest& request) { return stream_->Write(request); }
  // False: the stream is over.
  bool Listen(pb::WorkResponse& frame) { return stream_->Read(&frame); }
  // Reads until a frame answers `wanted`.
  template <class Wanted>
  pb::WorkResponse ListenFor(const Wanted& wanted) {
    pb::WorkResponse frame;
    while (Listen(frame)) {
      if (wanted(frame)) return frame;
    }
    ADD_FAILURE() << "the stream is over";
    return {};
  }
  void BreakOff() { context_.TryCancel(); }
  grpc::Status Finish() {
    pb::WorkResponse frame;
    while (Listen(frame)) {
    }
    return stream_->Finish();
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<pb::WorkRequest, pb::WorkResponse>> stream_;
};

pb::AckTaskRequest AckOf(const pb::Lease& lease) {
  pb::AckTaskRequest ack;
  ack.set_task_id(lease.task().id());
  ack.set_lease_token(lease.lease_token());
  return ack;
}

class WorkStreamTest : public SchedulerTest {
 protected:
  void CreateMany(int count) {
    pb::BatchCreateTasksRequest request;
    for (int i = 0; i < count; ++i) *request.add_requests() = NewTaskRequest();
    grpc::ClientContext context;
    pb::BatchCreateTasksResponse response;
    const grpc::Status status = process_.scheduler().BatchCreateTasks(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
};

TEST_F(WorkStreamTest, EveryTaskIsDoneOnceThoughWorkersBreakOff) {
  constexpr int kTasks = 400;
  CreateMany(kTasks);
  SchedulerProcess other(database_);
  std::atomic<int> settled = 0;
  // What `worker` gets it acks, and breaks off after `most`.
  const auto work = [&](SchedulerProcess& process, int most) {
    StreamWorker worker(process);
    worker.Hello("q", 20);
    int acked = 0;
    pb::WorkResponse frame;
    while (settled < kTasks && worker.Listen(frame)) {
      settled += frame.settled_task_ids_size();
      if (frame.leases().empty()) continue;
      pb::WorkRequest request;
      for (const pb::Lease& lease : frame.leases()) *request.add_acks() = AckOf(lease);
      request.set_credit(frame.leases_size());
      acked += frame.leases_size();
      if (most > 0 && acked > most) return worker.BreakOff();  // with leases in hand
      worker.Tell(request);
    }
    worker.BreakOff();
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] { work(i % 2 == 0 ? process_ : other, 30); });
  }
  for (std::thread& thread : threads) thread.join();
  // What was settled and not read is not known here; the database knows.
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  StreamWorker last(other);
  last.Hello("q", 100);
  std::thread reader([&] {
    pb::WorkResponse frame;
    while (last.Listen(frame)) {
      pb::WorkRequest request;
      for (const pb::Lease& lease : frame.leases()) *request.add_acks() = AckOf(lease);
      request.set_credit(frame.leases_size());
      last.Tell(request);
    }
  });
  const std::string succeeded = "SELECT count(*) FROM task_history WHERE state = 'succeeded'";
  while (database_.Sql(succeeded) != std::to_string(kTasks) && absl::Now() < deadline) {
  }
  last.BreakOff();
  reader.join();
  EXPECT_EQ(database_.Sql(succeeded), std::to_string(kTasks));
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM tasks"), "0");
  EXPECT_EQ(database_.Sql("SELECT count(DISTINCT id) FROM task_history"), std::to_string(kTasks));
}

TEST_F(WorkStreamTest, AWorkerThatSaysGoodbyeLeavesNothingBehind) {
  CreateMany(10);
  StreamWorker worker(process_);
  worker.Hello("q", 10);
  std::vector<pb::Lease> leases;
  while (leases.size() < 10) {
    const pb::WorkResponse frame =
        worker.ListenFor([](const pb::WorkResponse& told) { return !told.leases().empty(); });
    if (frame.leases().empty()) break;
    leases.insert(leases.end(), frame.leases().begin(), frame.leases().end());
  }
  ASSERT_EQ(leases.size(), 10U);
  pb::WorkRequest request;
  *request.add_acks() = AckOf(leases[0]);
  pb::FailTaskRequest& fail = *request.add_fails();
  fail.set_task_id(leases[1].task().id());
  fail.set_lease_token(leases[1].lease_token());
  fail.set_for_good(true);
  request.set_goodbye(true);
  worker.Tell(request);
  EXPECT_TRUE(worker.Finish().ok());
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM tasks WHERE state = 'pending' AND attempt = 0"),
            "8");
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM task_history"), "1");
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM dead_tasks"), "1");
}

TEST_F(WorkStreamTest, StreamsUnderWayDoNotKeepAProcessFromEnding) {
  CreateMany(50);
  std::vector<std::thread> threads;
  {
    SchedulerProcess ending(database_);
    std::atomic<int> begun = 0;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        StreamWorker worker(ending);
        worker.Hello("q", 5);
        ++begun;
        pb::WorkResponse frame;
        while (worker.Listen(frame)) {
          pb::WorkRequest request;
          for (const pb::Lease& lease : frame.leases()) *request.add_acks() = AckOf(lease);
          worker.Tell(request);
          if (!frame.drain()) continue;
          request.Clear();
          request.set_goodbye(true);
          worker.Tell(request);
        }
        worker.Finish();
      });
    }
    while (begun < 4) std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  // Whatever they had was acked or given back.
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM tasks WHERE state = 'running'"), "0");
}

}  // namespace
}  // namespace parley::testing
