#include "db/repository/push_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "db/repository/queue_target_json.h"
#include "tests/repository/task_fixture.h"
#include "tests/support/status_matchers.h"

namespace parley::testing {
namespace {

class PushRepositoryTest : public TaskRepositoryTest {
 protected:
  Task ClaimWithToken(const std::string& token, absl::Duration lease) {
    auto tasks = claimer_.Claim(
        {.queues = {"q"}, .max_tasks = 1, .lease_duration = lease, .token = token}, Deadline());
    EXPECT_TRUE(tasks.ok() && tasks->size() == 1) << tasks.status();
    return tasks.ok() && tasks->size() == 1 ? tasks->front() : Task();
  }

  db::PushRepository pushes_{database_.pool()};
};

TEST_F(PushRepositoryTest, TargetsComeBackAsTheyWereWritten) {
  const QueueTarget grpc = {"handler", GrpcDelivery{absl::Milliseconds(1500), 7}};
  const QueueTarget celery = {"workers", CeleryDelivery{.queue = "mail \"now\"",
                                                        .mode = CeleryDelivery::Mode::kTrackResult,
                                                        .result_timeout = absl::Hours(2),
                                                        .redis_priorities = true}};
  const QueueTarget plain = {"workers", CeleryDelivery{}};
  for (const QueueTarget& target : {grpc, celery, plain}) {
    const auto read = db::QueueTargetFromJson(db::ToJson(target));
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(*read, target);
  }
  for (const char* other : {"", "[]", "{}", R"({"name":"x"})", R"({"name":"x","grpc":{}})",
                            R"({"name":"x","celery":{"queue":1}})"}) {
    EXPECT_EQ(db::QueueTargetFromJson(other).status().code(), absl::StatusCode::kInternal) << other;
  }
}

TEST_F(PushRepositoryTest, QueuesWithATargetAreListed) {
  database_.Sql("INSERT INTO queues (name) VALUES ('plain')");
  database_.Sql("INSERT INTO queues (name, target) VALUES ('odd', '{\"name\": \"later\"}')");
  const QueueTarget target = {"workers", CeleryDelivery{}};
  database_.Sql("INSERT INTO queues (name, target) VALUES ('pushed', '" + db::ToJson(target) +
                "')");
  const auto queues = pushes_.ListQueues(Deadline());
  ASSERT_TRUE(queues.ok()) << queues.status();
  ASSERT_EQ(queues->size(), 1U);
  EXPECT_EQ(queues->front().name, "pushed");
  EXPECT_EQ(queues->front().target, target);
}

TEST_F(PushRepositoryTest, PlacesAreListedAsLongAsSomethingIsThere) {
  const auto places = [this] { return pushes_.ListPlaces(Deadline()).value(); };
  EXPECT_THAT(places(), ::testing::IsEmpty());
  const std::string first = "7075736800000001", second = "70757368ffffffff";
  for (const std::string& token :
       {first + std::string(16, '0'), first + std::string(16, 'f'), second + std::string(16, '0'),
        "70757367" + std::string(24, 'f'), "70757369" + std::string(24, '0')}) {
    Create(MakeTask());
    ClaimWithToken(token, absl::Hours(2));
  }
  Create(MakeTask());  // pending
  EXPECT_THAT(places(),
              ::testing::ElementsAre(db::HandoffPlace{"q", first}, db::HandoffPlace{"q", second}));
  database_.Sql("UPDATE tasks SET queue = 'p' WHERE lease_token::text LIKE '70757368-ffff%'");
  EXPECT_THAT(places(),
              ::testing::ElementsAre(db::HandoffPlace{"p", second}, db::HandoffPlace{"q", first}));
  database_.Sql("DELETE FROM tasks WHERE queue = 'p'");
  EXPECT_THAT(places(), ::testing::ElementsAre(db::HandoffPlace{"q", first}));
}

TEST_F(PushRepositoryTest, OnlyTasksUnderLeasesForThePlaceAreListed) {
  const std::string here = "707573680000abcd";
  NewTask task = MakeTask();
  task.expire_time = absl::FromUnixMicros(absl::ToUnixMicros(absl::Now() + absl::Hours(5)));
  Create(task);
  const Task pushed = ClaimWithToken(here + std::string(16, 'f'), absl::Hours(2));
  Create(MakeTask());
  const Task first = ClaimWithToken(here + std::string(16, '0'), absl::Hours(2));
  for (const std::string& token :
       {"707573680000abcc" + std::string(16, 'f'), "707573680000abce" + std::string(16, '0'),
        "70757367" + std::string(24, 'f'), "70757369" + std::string(24, '0')}) {
    Create(MakeTask());
    ClaimWithToken(token, absl::Hours(2));
  }
  Create(MakeTask());  // pending
  Create(MakeTask("other"));
  const auto tasks = pushes_.ListTasks({"q", here}, Deadline());
  ASSERT_TRUE(tasks.ok()) << tasks.status();
  ASSERT_EQ(tasks->size(), 2U);
  const db::PushedTask& listed =
      tasks->at(0).lease.task_id == pushed.id ? tasks->at(0) : tasks->at(1);
  EXPECT_EQ(listed.lease.token, here + std::string(16, 'f'));
  EXPECT_EQ(listed.create_time, pushed.create_time);
  EXPECT_TRUE(listed.may_expire);
  EXPECT_FALSE(listed.cancel_requested);
  EXPECT_GE(listed.age, absl::ZeroDuration());
  EXPECT_LT(listed.age, absl::Minutes(1));
  EXPECT_GT(listed.left, absl::Minutes(119) - absl::Minutes(1));
  EXPECT_LE(listed.left, absl::Hours(2));
  ASSERT_THAT(tasks_.CancelTask(first.id, Deadline()), IsOk());
  database_.Sql("UPDATE tasks SET expires_at = now()");
  const auto again = pushes_.ListTasks({"q", here}, Deadline());
  ASSERT_TRUE(again.ok());
  for (const db::PushedTask& one : *again) {
    EXPECT_EQ(one.cancel_requested, one.lease.task_id == first.id);
    EXPECT_FALSE(one.may_expire);
  }
}

TEST_F(PushRepositoryTest, ALeaseThatEndsWithTheRunTimeoutIsLeftToThat) {
  NewTask task = MakeTask();
  task.run_timeout = absl::Seconds(10);
  Create(task);
  ClaimWithToken("70757368" + std::string(24, 'a'), absl::Hours(1));
  const auto tasks = pushes_.ListTasks({"q", "70757368aaaaaaaa"}, Deadline());
  ASSERT_TRUE(tasks.ok()) << tasks.status();
  ASSERT_EQ(tasks->size(), 1U);
  EXPECT_EQ(tasks->front().left, absl::InfiniteDuration());
}

}  // namespace
}  // namespace parley::testing
