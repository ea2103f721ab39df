#include "services/scheduler/task_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/random_token.h"
#include "services/runtime/wire.h"
#include "services/scheduler/task_convert.h"
#include "tests/support/status_matchers.h"

namespace parley::scheduler {
namespace {

using ::parley::testing::IsOk;
using ::parley::testing::Violates;
using ::testing::ElementsAre;

NewTask GoodTask() {
  NewTask task;
  task.queue = "mail";
  task.name = "send";
  return task;
}

absl::Status Check(NewTask task) {
  Violations violations;
  PrepareNewTask("UTC", task, violations);
  return violations.ToStatus();
}

absl::Status Check(LeaseRequest request) {
  Violations violations;
  PrepareLeaseRequest(request, violations);
  return violations.ToStatus();
}

std::string Repeat(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

TEST(NewTaskTest, NeedsNoMoreThanAQueueAndAName) { EXPECT_THAT(Check(GoodTask()), IsOk()); }

TEST(NewTaskTest, TakesQueueNamesOfTheAlphabetOnly) {
  for (const std::string& queue : {std::string("a"), std::string("A-z.0_9"), Repeat("q", 128)}) {
    NewTask task = GoodTask();
    task.queue = queue;
    EXPECT_THAT(Check(task), IsOk()) << queue;
  }
  for (const std::string& queue : {std::string(), Repeat("q", 129), std::string("a b"),
                                   std::string("a/b"), std::string("\xc3\xa4")}) {
    NewTask task = GoodTask();
    task.queue = queue;
    EXPECT_THAT(Check(task), Violates("queue")) << queue;
  }
}

TEST(NewTaskTest, CountsTheNameInCodePoints) {
  const std::string four_bytes = "\xf0\x9f\x8e\xad";
  NewTask task = GoodTask();
  task.name = Repeat(four_bytes, 256);
  EXPECT_THAT(Check(task), IsOk());
  task.name = Repeat(four_bytes, 257);
  EXPECT_THAT(Check(task), Violates("name"));
  task.name.clear();
  EXPECT_THAT(Check(task), Violates("name"));
}

TEST(NewTaskTest, LimitsThePayloadToOneMebibyte) {
  NewTask task = GoodTask();
  task.payload.assign(1 << 20, '\0');
  EXPECT_THAT(Check(task), IsOk());
  task.payload.push_back('x');
  EXPECT_THAT(Check(task), Violates("payload"));
}

TEST(NewTaskTest, LimitsTheHeaders) {
  NewTask task = GoodTask();
  for (int i = 0; i < 64; ++i) task.headers.emplace(absl::StrCat("h", i), "v");
  EXPECT_THAT(Check(task), IsOk());
  task.headers.emplace("one more", "v");
  EXPECT_THAT(Check(task), Violates("headers"));

  task.headers = {{"h", std::string((16 << 10) - 1, 'v')}};
  EXPECT_THAT(Check(task), IsOk());
  task.headers = {{"hh", std::string((16 << 10) - 1, 'v')}};
  EXPECT_THAT(Check(task), Violates("headers"));

  task.headers = {{"", "v"}};
  EXPECT_THAT(Check(task), Violates("headers[\"\"]"));
  task.headers = {{"h", std::string("\0", 1)}};
  EXPECT_THAT(Check(task), Violates("headers[\"h\"]"));
}

TEST(NewTaskTest, NamesEveryFieldThatIsWrong) {
  NewTask task;
  task.priority = 10;
  task.max_attempts = 101;
  task.retry = {.first = -absl::Seconds(1),
                .longest = absl::Hours(24 * 31),
                .multiplier = 0.5,
                .jitter = std::nan("")};
  task.run_timeout = absl::Milliseconds(999);
  task.concurrency_key = Repeat("k", 129);
  task.dedupe = {.key = Repeat("k", 257), .window = absl::Hours(24 * 366) + absl::Nanoseconds(1)};
  task.delay = absl::Seconds(-1);
  task.local_time = LocalTime();
  const absl::Status status = Check(task);
  for (const char* field :
       {"queue", "name", "priority", "max_attempts", "delay", "local_time.date_time",
        "retry_policy.initial_backoff", "retry_policy.max_backoff",
        "retry_policy.backoff_multiplier", "retry_policy.jitter", "run_timeout", "concurrency_key",
        "dedupe_key", "dedupe_window"}) {
    EXPECT_THAT(status, Violates(field));
  }
}

TEST(NewTaskTest, CountsTheDedupeKeyInCodePoints) {
  NewTask task = GoodTask();
  task.dedupe = {.key = Repeat("\xf0\x9f\x98\x80", 256), .window = absl::Hours(24 * 366)};
  EXPECT_THAT(Check(task), IsOk());
  task.dedupe->key += "x";
  task.dedupe->window = -absl::Nanoseconds(1);
  EXPECT_THAT(Check(task), Violates("dedupe_key"));
  EXPECT_THAT(Check(task), Violates("dedupe_window"));
}

TEST(NewTaskTest, MayNotBeDelayedForMoreThanTenYears) {
  NewTask task = GoodTask();
  task.delay = absl::Hours(24) * 3653;
  EXPECT_THAT(Check(task), IsOk());
  task.delay += absl::Nanoseconds(1);
  EXPECT_THAT(Check(task), Violates("delay"));
}

TEST(NewTaskTest, RunsWhenItsLocalTimeComes) {
  Violations violations;
  NewTask task = GoodTask();
  task.local_time = LocalTime();
  task.local_time->date_time = "2026-07-01T12:00:00";
  PrepareNewTask("Europe/Berlin", task, violations);
  ASSERT_TRUE(violations.empty());
  EXPECT_EQ(task.run_time, absl::FromUnixSeconds(1782900000));
  EXPECT_EQ(task.local_time->time_zone, "Europe/Berlin");
}

TEST(LeaseRequestTest, GetsDefaultsAndMaxima) {
  Violations violations;
  LeaseRequest request;
  request.queues = {"b", "a", "b"};
  PrepareLeaseRequest(request, violations);
  EXPECT_TRUE(violations.empty());
  EXPECT_THAT(request.queues, ElementsAre("b", "a"));
  EXPECT_EQ(request.max_tasks, 1);
  EXPECT_EQ(request.lease_duration, absl::Seconds(30));
  request.max_tasks = 1000;
  PrepareLeaseRequest(request, violations);
  EXPECT_EQ(request.max_tasks, 100);
}

TEST(LeaseRequestTest, NamesEveryFieldThatIsWrong) {
  LeaseRequest request;
  EXPECT_THAT(Check(request), Violates("queues"));
  request.queues.assign(21, "q");
  EXPECT_THAT(Check(request), Violates("queues"));
  request.queues = {"good", "not good"};
  request.max_tasks = -1;
  request.wait_for = absl::Seconds(61);
  request.lease_duration = absl::Milliseconds(999);
  const absl::Status status = Check(request);
  for (const char* field : {"queues[1]", "max_tasks", "wait_for", "lease_duration"}) {
    EXPECT_THAT(status, Violates(field));
  }
}

TEST(LeaseKeyTest, IsAPositiveIdAndAToken) {
  Violations good;
  CheckLeaseKey(1, NewRandomToken(), good);
  EXPECT_TRUE(good.empty());
  for (const char* token :
       {"", "x", "0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef0123456789abcdef0"}) {
    Violations violations;
    CheckLeaseKey(0, token, violations);
    EXPECT_THAT(violations.ToStatus(), Violates("task_id"));
    EXPECT_THAT(violations.ToStatus(), Violates("lease_token")) << token;
  }
}

TEST(QueueTest, ThoseOfTheSuiteAreReserved) {
  Violations violations;
  NewTask task;
  task.queue = "parley.erase-user";
  task.name = "n";
  PrepareNewTask("UTC", task, violations);
  EXPECT_THAT(violations.ToStatus(), Violates("queue"));
  Violations lease_violations;
  LeaseRequest request;
  request.queues = {"a", "parley.x"};
  PrepareLeaseRequest(request, lease_violations);
  EXPECT_THAT(lease_violations.ToStatus(), Violates("queues[1]"));
  Violations none;
  task.queue = "parley";
  PrepareNewTask("UTC", task, none);
  CheckQueueFilter("parley.erase-user", none);
  EXPECT_TRUE(none.empty());
}

TEST(LeaseKeyTest, TokensDoNotRepeat) { EXPECT_NE(NewRandomToken(), NewRandomToken()); }

TEST(TaskFilterTest, EmptyMeansAllAndTheRestIsChecked) {
  Violations none;
  CheckQueueFilter("", none);
  CheckNameFilter("", none);
  CheckNameFilter(std::string(256, 'n'), none);
  EXPECT_TRUE(none.empty());
  Violations violations;
  CheckQueueFilter("no spaces", violations);
  CheckNameFilter(std::string(257, 'n'), violations);
  EXPECT_THAT(violations.ToStatus(), Violates("queue"));
  EXPECT_THAT(violations.ToStatus(), Violates("name"));
}

TEST(TaskConvertTest, NamesWhatTheModelCannotSay) {
  pb::CreateTaskRequest request;
  request.mutable_run_time()->set_nanos(-1);
  Violations violations;
  FromProto(request, violations);
  EXPECT_THAT(violations.ToStatus(), Violates("run_time"));

  request.mutable_delay()->set_seconds(1);
  request.mutable_delay()->set_nanos(-1);
  Violations delay;
  FromProto(request, delay);
  EXPECT_THAT(delay.ToStatus(), Violates("delay"));

  request.mutable_local_time()->set_gap_policy(static_cast<pb::GapPolicy>(7));
  request.mutable_local_time()->set_fold_policy(static_cast<pb::FoldPolicy>(7));
  Violations local;
  FromProto(request, local);
  EXPECT_THAT(local.ToStatus(), Violates("local_time.gap_policy"));
  EXPECT_THAT(local.ToStatus(), Violates("local_time.fold_policy"));
}

TEST(TaskConvertTest, APolicyOrAWindowNeedsADedupeKey) {
  pb::CreateTaskRequest request;
  request.set_dedupe_policy(pb::DEDUPE_POLICY_KEEP);
  request.mutable_dedupe_window();
  Violations without;
  EXPECT_FALSE(FromProto(request, without).dedupe);
  EXPECT_THAT(without.ToStatus(), Violates("dedupe_policy"));
  EXPECT_THAT(without.ToStatus(), Violates("dedupe_window"));

  request.set_dedupe_key("k");
  request.mutable_dedupe_window()->set_seconds(2);
  Violations with;
  const NewTask task = FromProto(request, with);
  EXPECT_TRUE(with.empty());
  ASSERT_TRUE(task.dedupe);
  EXPECT_EQ(task.dedupe->key, "k");
  EXPECT_EQ(task.dedupe->policy, DedupePolicy::kKeep);
  EXPECT_EQ(task.dedupe->window, absl::Seconds(2));

  request.set_dedupe_policy(static_cast<pb::DedupePolicy>(9));
  Violations unknown;
  FromProto(request, unknown);
  EXPECT_THAT(unknown.ToStatus(), Violates("dedupe_policy"));
}

TEST(TaskConvertTest, DurationsComeBackAsTheyWent) {
  for (const absl::Duration duration :
       {absl::ZeroDuration(), absl::Milliseconds(1500), absl::Milliseconds(-1500)}) {
    Violations violations;
    EXPECT_EQ(DurationFromProto("d", runtime::ToDuration(duration), violations), duration);
    EXPECT_TRUE(violations.empty());
  }
}

TEST(FingerprintOfTest, CoversEveryFieldButTheRequestId) {
  pb::CreateTaskRequest request;
  request.set_queue("q");
  const std::string original = FingerprintOf(request);
  request.set_request_id("another");
  EXPECT_EQ(FingerprintOf(request), original);

  std::vector<std::string> seen = {original};
  const auto is_new = [&] {
    const std::string fingerprint = FingerprintOf(request);
    const bool fresh = std::find(seen.begin(), seen.end(), fingerprint) == seen.end();
    seen.push_back(fingerprint);
    return fresh;
  };
  request.set_name("n");
  EXPECT_TRUE(is_new());
  request.set_payload("p");
  EXPECT_TRUE(is_new());
  (*request.mutable_headers())["h"] = "v";
  EXPECT_TRUE(is_new());
  request.set_priority(1);
  EXPECT_TRUE(is_new());
  request.set_max_attempts(1);
  EXPECT_TRUE(is_new());
  request.mutable_retry_policy();
  EXPECT_TRUE(is_new());
  request.mutable_retry_policy()->mutable_initial_backoff();
  EXPECT_TRUE(is_new());
  request.mutable_retry_policy()->set_jitter(0);
  EXPECT_TRUE(is_new());
  request.mutable_run_timeout();
  EXPECT_TRUE(is_new());
  request.set_concurrency_key("k");
  EXPECT_TRUE(is_new());
  request.set_dedupe_key("k");
  EXPECT_TRUE(is_new());
  request.set_dedupe_policy(pb::DEDUPE_POLICY_KEEP);
  EXPECT_TRUE(is_new());
  request.mutable_dedupe_window()->set_seconds(1);
  EXPECT_TRUE(is_new());
  request.mutable_run_time()->set_seconds(5);
  EXPECT_TRUE(is_new());
  request.mutable_delay()->set_seconds(5);
  EXPECT_TRUE(is_new());
  request.mutable_local_time()->set_date_time("5");
  EXPECT_TRUE(is_new());
  request.mutable_local_time()->set_fold_policy(pb::FOLD_POLICY_SECOND);
  EXPECT_TRUE(is_new());
}

TEST(HistoryDaysTest, AreAWholeNumberOfDaysInReason) {
  for (const char* good : {"1", "14", "3650"}) EXPECT_TRUE(IsHistoryDays(good)) << good;
  for (const char* bad : {"", "0", "-1", "3651", "1.5", "x"})
    EXPECT_FALSE(IsHistoryDays(bad)) << bad;
  EXPECT_FALSE(IsHistoryDays("00"));
}

TEST(DeadDaysTest, AreTheSameOrNone) {
  for (const char* good : {"0", "1", "3650"}) EXPECT_TRUE(IsDeadDays(good)) << good;
  for (const char* bad : {"", "-1", "3651", "1.5", "x"}) EXPECT_FALSE(IsDeadDays(bad)) << bad;
}

TEST(TaskResultTest, IsAtMostAQuarterOfAMebibyte) {
  Violations violations;
  CheckTaskResult(std::string(256 << 10, 'x'), violations);
  EXPECT_TRUE(violations.ToStatus().ok());
  CheckTaskResult(std::string((256 << 10) + 1, 'x'), violations);
  EXPECT_FALSE(violations.ToStatus().ok());
}

}  // namespace
}  // namespace parley::scheduler
