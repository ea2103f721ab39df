#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <future>
#include <set>
#include <string>
#include <vector>

#include "services/scheduler/schedule_service.h"
#include "tests/service/scheduler_process.h"

namespace parley::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsSupersetOf;

class TaskScheduleTest : public SchedulerTest {
 protected:
  using SchedulerTest::SchedulerTest;

  static pb::CreateScheduleRequest NewScheduleRequest(const std::string& cron = "@yearly") {
    pb::CreateScheduleRequest request;
    request.mutable_schedule()->mutable_spec()->set_cron(cron);
    request.mutable_schedule()->mutable_task()->set_queue("q");
    request.mutable_schedule()->mutable_task()->set_name("work");
    return request;
  }

  // Calls a method that must succeed.
  template <class Reply, class Request>
  static Reply Call(SchedulerProcess& process,
                    grpc::Status (pb::ScheduleService::Stub::*method)(grpc::ClientContext*,
                                                                      const Request&, Reply*),
                    const Request& request) {
    Reply reply;
    const grpc::Status status = TryCall(process, method, request, &reply);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return reply;
  }
  template <class Reply, class Request>
  static grpc::Status TryCall(SchedulerProcess& process,
                              grpc::Status (pb::ScheduleService::Stub::*method)(
                                  grpc::ClientContext*, const Request&, Reply*),
                              const Request& request, Reply* reply) {
    grpc::ClientContext context;
    return (process.schedules().*method)(&context, request, reply);
  }

  using Stub = pb::ScheduleService::Stub;
  pb::Schedule CreateOne(const pb::CreateScheduleRequest& request) {
    return Call(process_, &Stub::CreateSchedule, request);
  }
};

TEST_F(TaskScheduleTest, AScheduleIsReadBackAsItWasCreated) {
  pb::CreateScheduleRequest request = NewScheduleRequest();
  request.mutable_schedule()->set_name("yearly");
  const pb::Schedule created = CreateOne(request);
  EXPECT_EQ(created.spec().time_zone(), "Europe/Berlin");
  EXPECT_GT(created.next_fire_time().seconds(), created.create_time().seconds());
  pb::GetScheduleRequest by_id;
  by_id.set_schedule_id(created.id());
  EXPECT_EQ(Call(process_, &Stub::GetSchedule, by_id).SerializeAsString(),
            created.SerializeAsString());
  pb::GetScheduleRequest by_name;
  by_name.set_name("yearly");
  EXPECT_EQ(Call(process_, &Stub::GetSchedule, by_name).id(), created.id());
}

TEST_F(TaskScheduleTest, NamesEveryFieldThatIsWrong) {
  pb::CreateScheduleRequest request;
  request.mutable_schedule()->mutable_spec()->mutable_interval();
  request.mutable_schedule()->mutable_spec()->set_time_zone("Mars/Olympus");
  request.mutable_schedule()->set_misfire_limit(-1);
  request.set_request_id("with blanks");
  pb::Schedule schedule;
  const grpc::Status status = TryCall(process_, &Stub::CreateSchedule, request, &schedule);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(Fields(status),
              IsSupersetOf({"schedule.spec.interval.every", "schedule.spec.time_zone",
                            "schedule.task.queue", "schedule.task.name", "schedule.misfire_limit",
                            "request_id"}));
}

TEST_F(TaskScheduleTest, RefusesAnEtagThatIsOutdated) {
  const pb::Schedule before = CreateOne(NewScheduleRequest());
  pb::UpdateScheduleRequest update;
  update.mutable_schedule()->set_id(before.id());
  update.mutable_schedule()->set_etag(before.etag());
  update.mutable_schedule()->set_misfire_limit(5);
  const pb::Schedule after = Call(process_, &Stub::UpdateSchedule, update);
  EXPECT_EQ(after.misfire_limit(), 5);
  update.mutable_schedule()->set_misfire_limit(6);
  pb::Schedule none;
  const grpc::Status status = TryCall(process_, &Stub::UpdateSchedule, update, &none);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(Reason(status), "ETAG_MISMATCH");
}

TEST_F(TaskScheduleTest, APageTokenBelongsToItsList) {
  for (int i = 0; i < 3; ++i) CreateOne(NewScheduleRequest());
  pb::ListSchedulesRequest request;
  request.set_limit(2);
  const auto first = Call(process_, &Stub::ListSchedules, request);
  EXPECT_EQ(first.schedules_size(), 2);
  request.set_page_token(first.next_page_token());
  const auto second = Call(process_, &Stub::ListSchedules, request);
  EXPECT_EQ(second.schedules_size(), 1);
  EXPECT_EQ(second.next_page_token(), "");
  request.set_queue("other");
  pb::ListSchedulesResponse none;
  const grpc::Status status = TryCall(process_, &Stub::ListSchedules, request, &none);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(Fields(status), Contains("page_token"));
}

TEST_F(TaskScheduleTest, TwoProcessesFireEachTimeOnce) {
  SchedulerProcess other(database_);
  pb::CreateScheduleRequest request = NewScheduleRequest("* * * * * *");
  request.mutable_schedule()->set_overlap_policy(pb::OVERLAP_POLICY_ALLOW);
  const pb::Schedule schedule = CreateOne(request);
  std::set<std::int64_t> seconds;
  for (int i = 0; i < 3; ++i) {
    const auto leases = Lease(i % 2 == 0 ? process_ : other, "q", absl::Seconds(10));
    ASSERT_EQ(leases.size(), 1);
    EXPECT_EQ(leases[0].task().schedule_id(), schedule.id());
    EXPECT_EQ(leases[0].task().fire_time().nanos(), 0);
    EXPECT_TRUE(seconds.insert(leases[0].task().fire_time().seconds()).second);
  }
  EXPECT_EQ(*seconds.rbegin() - *seconds.begin(), 2);
}

// What these ticks need not wait for is heard of, or the test waits for an hour.
class RareTicksTest : public TaskScheduleTest {
 protected:
  RareTicksTest() : TaskScheduleTest({.at_schedules = absl::Hours(1)}) {}
};

TEST_F(RareTicksTest, WhatChangesIsHeardOfAtOnce) {
  const pb::Schedule schedule = CreateOne(NewScheduleRequest());
  pb::UpdateScheduleRequest update;
  update.mutable_schedule()->set_id(schedule.id());
  update.mutable_schedule()->mutable_spec()->set_cron("* * * * * *");
  Call(process_, &Stub::UpdateSchedule, update);
  EXPECT_EQ(Lease(process_, "q", absl::Seconds(10)).size(), 1);
  pb::PauseScheduleRequest pause;
  pause.set_schedule_id(schedule.id());
  pause.set_note("why");
  EXPECT_EQ(Call(process_, &Stub::PauseSchedule, pause).pause_note(), "why");
  pb::ResumeScheduleRequest resume;
  resume.set_schedule_id(schedule.id());
  EXPECT_FALSE(Call(process_, &Stub::ResumeSchedule, resume).has_pause_time());
}

TEST_F(RareTicksTest, AFiringThatWaitsHappensWhenTheTaskEnds) {
  pb::CreateScheduleRequest create = NewScheduleRequest("* * * * * *");
  create.mutable_schedule()->set_overlap_policy(pb::OVERLAP_POLICY_BUFFER_ONE);
  pb::Schedule schedule = CreateOne(create);
  const auto first = Lease(process_, "q", absl::Seconds(10));
  ASSERT_EQ(first.size(), 1);
  pb::GetScheduleRequest get;
  get.set_schedule_id(schedule.id());
  const absl::Time give_up = absl::Now() + absl::Seconds(30);
  while (!schedule.has_buffered_fire_time() && absl::Now() < give_up) {
    schedule = Call(process_, &Stub::GetSchedule, get);
  }
  ASSERT_TRUE(schedule.has_buffered_fire_time());
  // No other firing wakes the ticker.
  pb::UpdateScheduleRequest update;
  update.mutable_schedule()->set_id(schedule.id());
  update.mutable_schedule()->mutable_spec()->set_cron("@yearly");
  Call(process_, &Stub::UpdateSchedule, update);
  pb::Task ended;
  ASSERT_TRUE(Ack(process_, first[0], &ended).ok());
  const auto second = Lease(process_, "q", absl::Seconds(10));
  ASSERT_EQ(second.size(), 1);
  EXPECT_EQ(second[0].task().fire_time().seconds(), schedule.buffered_fire_time().seconds());
}

TEST_F(TaskScheduleTest, ATriggeredTaskComesToTheWorkerThatWaits) {
  const pb::Schedule schedule = CreateOne(NewScheduleRequest());
  const absl::Time since = absl::Now();
  auto waiting =
      std::async(std::launch::async, [&] { return Lease(process_, "q", absl::Seconds(20)); });
  WaitUntilParked(database_, since);
  pb::TriggerScheduleRequest trigger;
  trigger.set_schedule_id(schedule.id());
  const pb::Task task = Call(process_, &Stub::TriggerSchedule, trigger);
  const std::vector<pb::Lease> leases = waiting.get();
  ASSERT_EQ(leases.size(), 1);
  EXPECT_EQ(leases[0].task().id(), task.id());
}

TEST_F(TaskScheduleTest, PreviewsASpecThatDoesNotExist) {
  pb::PreviewScheduleRequest request;
  request.mutable_spec()->set_cron("30 2 * * *");
  request.mutable_after_time()->set_seconds(1774656000);  // 2026-03-28
  request.set_limit(2);
  const auto preview = Call(process_, &Stub::PreviewSchedule, request);
  std::vector<std::string> times;
  for (const pb::FireTime& time : preview.fire_times()) times.push_back(time.local_time());
  EXPECT_THAT(times, ElementsAre("2026-03-28T02:30:00+01:00", "2026-03-29T03:30:00+02:00"));
  EXPECT_EQ(preview.fire_times(1).resolution(), pb::LOCAL_TIME_RESOLUTION_SHIFTED);
}

TEST_F(TaskScheduleTest, WhatIsNotThereIsNotFound) {
  pb::DeleteScheduleRequest request;
  request.set_schedule_id(12345);
  google::protobuf::Empty none;
  const grpc::Status status = TryCall(process_, &Stub::DeleteSchedule, request, &none);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Reason(status), "SCHEDULE_NOT_FOUND");
}

}  // namespace
}  // namespace parley::testing
