#include "services/scheduler/queue_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <string>
#include <vector>

#include "tests/service/scheduler_process.h"

namespace parley::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class QueueServiceTest : public SchedulerTest {
 protected:
  // A call of the process's; OK or not, its answer is in `answer`.
  template <class Request, class Answer>
  grpc::Status Call(grpc::Status (pb::QueueService::Stub::*method)(grpc::ClientContext*,
                                                                   const Request&, Answer*),
                    const Request& request, Answer* answer, SchedulerProcess* process = nullptr) {
    grpc::ClientContext context;
    return ((process == nullptr ? process_ : *process).queue().*method)(&context, request, answer);
  }

  grpc::Status Pause(const std::string& queue, SchedulerProcess* process = nullptr) {
    pb::PauseQueueRequest request;
    request.set_queue(queue);
    request.set_note("why not");
    return Call(&pb::QueueService::Stub::PauseQueue, request, &queue_, process);
  }
  grpc::Status Resume(const std::string& queue, SchedulerProcess* process = nullptr) {
    pb::ResumeQueueRequest request;
    request.set_queue(queue);
    return Call(&pb::QueueService::Stub::ResumeQueue, request, &queue_, process);
  }
  grpc::Status Get(const std::string& queue) {
    pb::GetQueueRequest request;
    request.set_queue(queue);
    return Call(&pb::QueueService::Stub::GetQueue, request, &queue_);
  }

  pb::Queue queue_;  // what the last call answered
};

TEST_F(QueueServiceTest, WhatWasSetIsReadBack) {
  pb::CreateQueueRequest create;
  pb::Queue& wanted = *create.mutable_queue();
  wanted.set_name("q");
  wanted.set_max_attempts(3);
  wanted.mutable_retry_policy()->mutable_initial_backoff()->set_nanos(250'000'000);
  wanted.mutable_retry_policy()->set_jitter(0);
  wanted.set_max_running(10);
  wanted.set_max_running_per_key(2);
  wanted.mutable_rate_limit()->set_rate(2.5);
  wanted.set_pause_note("output only");
  wanted.set_etag("output only");
  ASSERT_TRUE(Call(&pb::QueueService::Stub::CreateQueue, create, &queue_).ok());
  const pb::Queue created = queue_;
  EXPECT_EQ(created.retry_policy().SerializeAsString(), wanted.retry_policy().SerializeAsString());
  EXPECT_EQ(created.rate_limit().rate(), 2.5);
  EXPECT_EQ(created.rate_limit().burst(), 3);
  EXPECT_EQ(created.max_running(), 10);
  EXPECT_EQ(created.max_running_per_key(), 2);
  EXPECT_EQ(created.pause_note(), "");
  EXPECT_TRUE(created.has_create_time());
  ASSERT_TRUE(Get("q").ok());
  EXPECT_EQ(queue_.SerializeAsString(), created.SerializeAsString());
  // What is created without takes it from the queue.
  EXPECT_EQ(Create(process_, NewTaskRequest()).max_attempts(), 3);

  const grpc::Status again = Call(&pb::QueueService::Stub::CreateQueue, create, &queue_);
  EXPECT_EQ(again.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(Reason(again), "QUEUE_EXISTS");
}

TEST_F(QueueServiceTest, AQueueWithoutSettingsIsThereAsMuchAsAnyOther) {
  ASSERT_TRUE(Get("any").ok());
  EXPECT_EQ(queue_.name(), "any");
  EXPECT_FALSE(queue_.has_create_time());
  EXPECT_FALSE(queue_.has_retry_policy());
  // Its etag guards it from whoever comes first.
  pb::UpdateQueueRequest update;
  *update.mutable_queue() = queue_;
  update.mutable_queue()->set_max_running(4);
  ASSERT_TRUE(Call(&pb::QueueService::Stub::UpdateQueue, update, &queue_).ok());
  EXPECT_EQ(queue_.max_running(), 4);
  update.mutable_queue()->set_max_running(5);
  const grpc::Status late = Call(&pb::QueueService::Stub::UpdateQueue, update, &queue_);
  EXPECT_EQ(late.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(Reason(late), "ETAG_MISMATCH");

  // A limit is taken away by its name.
  update.mutable_queue()->set_etag(queue_.etag());
  update.mutable_queue()->clear_max_running();
  update.mutable_update_mask()->add_paths("max_running");
  ASSERT_TRUE(Call(&pb::QueueService::Stub::UpdateQueue, update, &queue_).ok());
  EXPECT_EQ(queue_.max_running(), 0);
}

TEST_F(QueueServiceTest, ATargetHasDefaultsAndIsTakenAwayByItsName) {
  pb::CreateQueueRequest create;
  create.mutable_queue()->set_name("q");
  pb::QueueTarget& target = *create.mutable_queue()->mutable_target();
  target.set_name("handler");
  target.mutable_grpc();
  create.set_request_id("once");
  ASSERT_TRUE(Call(&pb::QueueService::Stub::CreateQueue, create, &queue_).ok());
  EXPECT_EQ(queue_.target().name(), "handler");
  EXPECT_EQ(queue_.target().grpc().timeout().seconds(), 30);
  EXPECT_EQ(queue_.target().grpc().max_calls(), 16);
  target.mutable_grpc()->set_max_calls(16);  // the same, but put in another way
  EXPECT_EQ(Reason(Call(&pb::QueueService::Stub::CreateQueue, create, &queue_)),
            "REQUEST_ID_REUSED");

  pb::UpdateQueueRequest update;
  update.mutable_queue()->set_name("q");
  update.mutable_queue()->set_max_running(3);
  ASSERT_TRUE(Call(&pb::QueueService::Stub::UpdateQueue, update, &queue_).ok());
  EXPECT_EQ(queue_.target().name(), "handler");
  update.mutable_queue()->mutable_target()->set_name("handler");
  update.mutable_queue()->mutable_target()->mutable_grpc()->mutable_timeout()->set_seconds(5);
  ASSERT_TRUE(Call(&pb::QueueService::Stub::UpdateQueue, update, &queue_).ok());
  EXPECT_EQ(queue_.target().grpc().timeout().seconds(), 5);
  update.mutable_queue()->clear_target();
  update.mutable_update_mask()->add_paths("target");
  ASSERT_TRUE(Call(&pb::QueueService::Stub::UpdateQueue, update, &queue_).ok());
  EXPECT_FALSE(queue_.has_target());
}

TEST_F(QueueServiceTest, OnlyTargetsThatTheServerIsToldOfAreTaken) {
  pb::CreateQueueRequest create;
  create.mutable_queue()->set_name("q");
  pb::QueueTarget& target = *create.mutable_queue()->mutable_target();
  const auto wrong = [&] {
    return Fields(Call(&pb::QueueService::Stub::CreateQueue, create, &queue_));
  };
  EXPECT_THAT(wrong(), ElementsAre("queue.target", "queue.target.name"));
  target.mutable_grpc();
  EXPECT_THAT(wrong(), ElementsAre("queue.target.name"));
  target.set_name("nobody");
  EXPECT_THAT(wrong(), ElementsAre("queue.target.name"));
  target.set_name("handler");
  target.mutable_celery();  // it is of the other kind
  EXPECT_THAT(wrong(), ElementsAre("queue.target.name"));
  target.mutable_celery()->set_mode(static_cast<pb::CeleryDelivery::Mode>(9));
  target.mutable_celery()->mutable_result_timeout()->set_nanos(1);
  target.mutable_celery()->set_queue(std::string(256, 'q'));
  EXPECT_THAT(wrong(), ElementsAre("queue.target.celery.mode", "queue.target.celery.queue",
                                   "queue.target.celery.result_timeout", "queue.target.name"));
  pb::UpdateQueueRequest update;
  *update.mutable_queue() = create.queue();
  update.mutable_queue()->mutable_target()->mutable_grpc()->set_max_calls(-1);
  EXPECT_THAT(Fields(Call(&pb::QueueService::Stub::UpdateQueue, update, &queue_)),
              ElementsAre("queue.target.grpc.max_calls"));
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM queues"), "0");
}

TEST_F(QueueServiceTest, QueuesOfTheSuiteAreShownButNotChanged) {
  ASSERT_TRUE(Get("parley.send").ok());
  pb::GetQueueStatsRequest stats;
  stats.set_queue("parley.send");
  pb::QueueStats answer;
  EXPECT_TRUE(Call(&pb::QueueService::Stub::GetQueueStats, stats, &answer).ok());
  EXPECT_THAT(Fields(Pause("parley.send")), ElementsAre("queue"));
  EXPECT_THAT(Fields(Resume("parley.send")), ElementsAre("queue"));
  pb::PurgeQueueRequest purge;
  purge.set_queue("parley.send");
  pb::PurgeQueueResponse purged;
  EXPECT_THAT(Fields(Call(&pb::QueueService::Stub::PurgeQueue, purge, &purged)),
              ElementsAre("queue"));
  pb::CreateQueueRequest create;
  create.mutable_queue()->set_name("parley.send");
  EXPECT_THAT(Fields(Call(&pb::QueueService::Stub::CreateQueue, create, &queue_)),
              ElementsAre("queue.name"));
  pb::UpdateQueueRequest update;
  update.mutable_queue()->set_name("parley.send");
  EXPECT_THAT(Fields(Call(&pb::QueueService::Stub::UpdateQueue, update, &queue_)),
              ElementsAre("queue.name"));
}

TEST_F(QueueServiceTest, WhatIsWrongIsNamed) {
  pb::CreateQueueRequest create;
  create.mutable_queue()->set_name("no spaces");
  create.mutable_queue()->set_max_running(-1);
  create.mutable_queue()->mutable_rate_limit();
  create.set_request_id("a b");
  EXPECT_THAT(
      Fields(Call(&pb::QueueService::Stub::CreateQueue, create, &queue_)),
      ElementsAre("queue.name", "queue.max_running", "queue.rate_limit.rate", "request_id"));
  pb::UpdateQueueRequest update;
  update.mutable_queue()->set_name("q");
  update.mutable_queue()->set_max_attempts(101);
  update.mutable_update_mask()->add_paths("max_attempts");
  update.mutable_update_mask()->add_paths("name");
  EXPECT_THAT(Fields(Call(&pb::QueueService::Stub::UpdateQueue, update, &queue_)),
              ElementsAre("update_mask", "queue.max_attempts"));
  EXPECT_THAT(Fields(Get("")), ElementsAre("queue"));
  pb::PauseQueueRequest pause;
  pause.set_queue("q");
  pause.set_note(std::string(257, 'x'));
  EXPECT_THAT(Fields(Call(&pb::QueueService::Stub::PauseQueue, pause, &queue_)),
              ElementsAre("note"));
  pb::ListQueuesRequest list;
  list.set_limit(-1);
  list.set_offset(1);
  list.set_page_token("x");
  pb::ListQueuesResponse page;
  EXPECT_THAT(Fields(Call(&pb::QueueService::Stub::ListQueues, list, &page)),
              ElementsAre("limit", "offset", "page_token", "page_token"));
}

TEST_F(QueueServiceTest, APausedQueueGivesNothingAndResumingWakesWhoWaitsAnywhere) {
  // It does not look of its own accord.
  SchedulerProcess told(database_, {.at_tasks = absl::Hours(10)});
  for (SchedulerProcess* resumer : {&told, &process_}) {
    ASSERT_TRUE(Pause("q").ok());
    EXPECT_EQ(queue_.pause_note(), "why not");
    Create(process_, NewTaskRequest());
    EXPECT_THAT(Lease(process_, "q", absl::ZeroDuration()), IsEmpty());
    const absl::Time since = absl::Now();
    auto waiting =
        std::async(std::launch::async, [&told] { return Lease(told, "q", absl::Seconds(20)); });
    WaitUntilParked(database_, since);
    ASSERT_TRUE(Resume("q", resumer).ok());
    EXPECT_THAT(waiting.get(), SizeIs(1));
  }
}

TEST_F(QueueServiceTest, AListEndsWithAnEmptyToken) {
  for (const char* queue : {"c", "a", "b"}) ASSERT_TRUE(Pause(queue).ok());
  std::vector<std::string> names;
  pb::ListQueuesRequest list;
  list.set_limit(2);
  pb::ListQueuesResponse page;
  do {
    ASSERT_TRUE(Call(&pb::QueueService::Stub::ListQueues, list, &page).ok());
    for (const pb::Queue& queue : page.queues()) names.push_back(queue.name());
    list.set_page_token(page.next_page_token());
  } while (!page.next_page_token().empty());
  EXPECT_THAT(names, ElementsAre("a", "b", "c"));
}

TEST_F(QueueServiceTest, APurgeThatMeetsItsDeadlineSaysHowFarItGot) {
  constexpr int kTasks = 30'000;
  database_.Sql(
      absl::StrCat("INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts) "
                   "SELECT 'q', 'n', '', now(), 0, 3 FROM generate_series(1, ",
                   kTasks, ")"));
  pb::PurgeQueueRequest request;
  request.set_queue("q");
  pb::PurgeQueueResponse purged;
  {
    grpc::ClientContext context;
    // Hardly more than one step fits in.
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(310));
    const grpc::Status status = process_.queue().PurgeQueue(&context, request, &purged);
    EXPECT_FALSE(purged.done());
    EXPECT_TRUE(status.ok() || status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  const std::int64_t left = std::stoll(database_.Sql("SELECT count(*) FROM tasks"));
  EXPECT_GT(left, 0);
  EXPECT_LE(purged.task_count(), kTasks - left);
  ASSERT_TRUE(Call(&pb::QueueService::Stub::PurgeQueue, request, &purged).ok());
  EXPECT_TRUE(purged.done());
  EXPECT_EQ(purged.task_count(), left);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM task_history WHERE state = 'cancelled'"),
            absl::StrCat(kTasks));
}

TEST_F(QueueServiceTest, APurgeOfDeadTasksTakesNoOthers) {
  database_.Sql(
      "INSERT INTO dead_tasks (id, queue, name, payload, headers, run_at, priority, attempt, "
      "                        max_attempts, errors, created_at) "
      "SELECT i, 'q', 'n', '', '{}', now(), 0, 3, 3, '[]', now() FROM generate_series(1, 2500) AS "
      "i;"
      "INSERT INTO queue_counters (queue, backend, dead) VALUES ('q', 0, 2500);"
      "SELECT setval('task_id_seq', 2500)");
  Create(process_, NewTaskRequest());
  pb::PurgeQueueRequest request;
  request.set_queue("q");
  request.set_state(pb::TASK_STATE_DEAD);
  pb::PurgeQueueResponse purged;
  for (const std::int64_t count : {2500, 0}) {
    ASSERT_TRUE(Call(&pb::QueueService::Stub::PurgeQueue, request, &purged).ok());
    EXPECT_EQ(purged.task_count(), count);
    EXPECT_TRUE(purged.done());
  }
  pb::GetQueueStatsRequest ask;
  ask.set_queue("q");
  pb::QueueStats stats;
  ASSERT_TRUE(Call(&pb::QueueService::Stub::GetQueueStats, ask, &stats).ok());
  EXPECT_EQ(stats.dead_count(), 0);
  EXPECT_EQ(stats.pending_count(), 1);
  request.set_state(pb::TASK_STATE_PENDING);
  ASSERT_TRUE(Call(&pb::QueueService::Stub::PurgeQueue, request, &purged).ok());
  EXPECT_EQ(purged.task_count(), 1);
  for (const pb::TaskState state :
       {pb::TASK_STATE_RUNNING, pb::TASK_STATE_SUCCEEDED, static_cast<pb::TaskState>(99)}) {
    request.set_state(state);
    EXPECT_THAT(Fields(Call(&pb::QueueService::Stub::PurgeQueue, request, &purged)),
                ElementsAre("state"));
  }
}

}  // namespace
}  // namespace parley::testing
