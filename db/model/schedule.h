// Schedules: what makes tasks again and again.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/recurrence.h"
#include "db/model/task.h"

namespace parley {

// When a schedule fires.
struct ScheduleSpec {
  std::string cron;         // base/cron.h; empty: at intervals
  absl::Duration interval;  // zero: by cron
  // Of the interval. Absent, before it is stored: the one it had, or start_time, or now.
  std::optional<absl::Time> anchor;
  std::string time_zone;  // an IANA zone
  // Not before the one, and before the other.
  std::optional<absl::Time> start_time;
  std::optional<absl::Time> end_time;

  bool operator==(const ScheduleSpec&) const = default;
};

// An interval without an anchor begins when the schedule does: at start_time, or at `now`.
void SetAnchor(ScheduleSpec& spec, absl::Time now);

// INTERNAL if this host does not know its zone (any more), or its cron is none.
absl::StatusOr<Recurrence> RecurrenceOf(const ScheduleSpec& spec);

// What the tasks of a schedule are made of.
struct TaskTemplate {
  std::string queue;
  std::string name;
  std::string payload;  // bytes
  std::map<std::string, std::string> headers;
  std::int32_t priority = 0;
  std::int32_t max_attempts = 0;               // 0: the queue's
  std::optional<absl::Duration> expire_after;  // from the task's run_time on
  RetryPolicy retry;
  std::optional<absl::Duration> run_timeout;
  std::string concurrency_key;  // empty: none

  bool operator==(const TaskTemplate&) const = default;
};

// What becomes of firings that nobody made when it was time.
enum class MisfirePolicy { kSkip, kLatest, kAll };
// What becomes of a firing while a task of an earlier one has not ended.
enum class OverlapPolicy { kSkip, kBufferOne, kAllow, kCancelOther };

// What its owner says of a schedule.
struct ScheduleSettings {
  std::string name;  // unique; empty: none
  ScheduleSpec spec;
  TaskTemplate task;
  MisfirePolicy misfire_policy = MisfirePolicy::kLatest;
  std::int32_t misfire_limit = 0;  // of kAll
  absl::Duration catch_up_window;  // what was missed longer ago is discarded
  OverlapPolicy overlap_policy = OverlapPolicy::kSkip;
  absl::Duration jitter;  // a task is due up to so much later than its firing

  bool operator==(const ScheduleSettings&) const = default;
};

// What is to become different of them.
struct ScheduleChange {
  std::optional<std::string> name;
  std::optional<ScheduleSpec> spec;
  std::optional<TaskTemplate> task;
  std::optional<MisfirePolicy> misfire_policy;
  std::optional<std::int32_t> misfire_limit;
  std::optional<absl::Duration> catch_up_window;
  std::optional<OverlapPolicy> overlap_policy;
  std::optional<absl::Duration> jitter;
};

// How many firings there were, by what became of them.
struct ScheduleCounters {
  std::int64_t fired = 0;       // by the clock; they have got tasks
  std::int64_t missed = 0;      // discarded: too late, or while paused
  std::int64_t overlapped = 0;  // discarded: a task of an earlier one had not ended
  std::int64_t buffered = 0;    // had to wait for such a task
  std::int64_t triggered = 0;   // by hand
  std::int64_t backfilled = 0;  // by hand
};

struct Schedule : ScheduleSettings {
  std::int64_t id = 0;
  std::optional<absl::Time> paused_at;
  std::string pause_note;
  // Firings up to here have been dealt with. The first one later than it is the next.
  absl::Time considered_until;
  std::optional<absl::Time> next_fire_time;  // absent: none is left
  std::optional<absl::Time> buffered_fire_time;
  std::optional<absl::Time> last_fire_time;
  std::int64_t last_task_id = 0;  // 0: none
  ScheduleCounters counters;
  std::int64_t version = 0;
  absl::Time create_time;
  absl::Time update_time;
};

}  // namespace parley
