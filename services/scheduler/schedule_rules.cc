#include "services/scheduler/schedule_rules.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"
#include "base/cron.h"
#include "base/local_time.h"
#include "base/text.h"
#include "services/scheduler/task_rules.h"

namespace parley::scheduler {
namespace {

constexpr std::size_t kMaxScheduleName = 128;
constexpr std::size_t kMaxCron = 256;
constexpr std::int32_t kMaxMisfireLimit = 1000;
constexpr std::int32_t kDefaultBackfill = 100;
constexpr std::int32_t kMaxBackfill = 1000;
constexpr std::int32_t kDefaultPreview = 10;
constexpr std::int32_t kMaxPreview = 1000;
constexpr absl::Duration kMinInterval = absl::Seconds(1);
const absl::Duration kMaxInterval = absl::Hours(24) * 3653;  // ten years, leap days included
const absl::Duration kMaxExpireAfter = kMaxInterval;
const absl::Duration kMaxCatchUpWindow = absl::Hours(24) * 366;
const absl::Duration kMaxJitter = absl::Hours(24);

absl::Time StoredTime(absl::Time time) { return absl::FromUnixMicros(absl::ToUnixMicros(time)); }

absl::Duration StoredDuration(absl::Duration duration) {
  return absl::Microseconds(absl::ToInt64Microseconds(duration));
}

// Before that there is nothing to schedule, and later the arithmetic of the database gets inexact.
void PrepareInstant(absl::string_view field, std::optional<absl::Time>& time,
                    Violations& violations) {
  if (!time) return;
  static const absl::Time kEnd = absl::FromCivil(absl::CivilYear(2200), absl::UTCTimeZone());
  time = StoredTime(*time);
  if (*time < absl::UnixEpoch() || *time >= kEnd) {
    violations.Add(field, "must lie in the years 1970 to 2199");
  }
}

void PrepareInterval(absl::string_view prefix, ScheduleSpec& spec, Violations& violations) {
  const std::string field = absl::StrCat(prefix, "interval.");
  if (spec.interval < kMinInterval || spec.interval > kMaxInterval) {
    violations.Add(absl::StrCat(field, "every"), "must be 1 s to 10 years");
  }
  spec.interval = StoredDuration(spec.interval);
  PrepareInstant(absl::StrCat(field, "anchor_time"), spec.anchor, violations);
}

void CheckCron(absl::string_view field, absl::string_view cron, Violations& violations) {
  if (cron.size() > kMaxCron) return violations.Add(field, "must be at most 256 characters");
  const auto parsed = CronExpression::Parse(cron);
  if (!parsed.ok()) violations.Add(field, parsed.status().message());
}

// Its checks are those of the task it will be.
void PrepareTemplate(TaskTemplate& task, Violations& violations) {
  NewTask made;
  made.queue = task.queue;
  made.name = task.name;
  made.payload = task.payload;
  made.headers = task.headers;
  made.priority = task.priority;
  made.max_attempts = task.max_attempts;
  made.retry = task.retry;
  made.run_timeout = task.run_timeout;
  made.concurrency_key = task.concurrency_key;
  violations.SetPrefix("schedule.task.");
  PrepareNewTask("UTC", made, violations);
  if (task.expire_after) {
    if (*task.expire_after <= absl::ZeroDuration() || *task.expire_after > kMaxExpireAfter) {
      violations.Add("expire_after", "must be more than 0, and at most 10 years");
    }
    task.expire_after = std::max(StoredDuration(*task.expire_after), absl::Microseconds(1));
  }
  violations.SetPrefix("");
}

void PrepareName(absl::string_view name, Violations& violations) {
  CheckText("schedule.name", name, {.max = kMaxScheduleName}, violations);
}

void PrepareMisfireLimit(std::int32_t& limit, Violations& violations) {
  if (limit == 0) limit = kDefaultMisfireLimit;
  if (limit < 0 || limit > kMaxMisfireLimit) {
    violations.Add("schedule.misfire_limit", "must be 1 to 1000, or 0 for 100");
  }
}

void PrepareWindow(absl::Duration& window, Violations& violations) {
  if (window < absl::ZeroDuration() || window > kMaxCatchUpWindow) {
    violations.Add("schedule.catch_up_window", "must be 0 to 366 days");
  }
  window = StoredDuration(window);
}

void PrepareJitter(absl::Duration& jitter, Violations& violations) {
  if (jitter < absl::ZeroDuration() || jitter > kMaxJitter) {
    violations.Add("schedule.jitter", "must be 0 to 1 day");
  }
  jitter = StoredDuration(jitter);
}

}  // namespace

void PrepareSpec(absl::string_view prefix, absl::string_view default_zone, ScheduleSpec& spec,
                 Violations& violations) {
  if (spec.cron.empty()) {
    PrepareInterval(prefix, spec, violations);
  } else {
    CheckCron(absl::StrCat(prefix, "cron"), spec.cron, violations);
  }
  if (spec.time_zone.empty()) spec.time_zone = std::string(default_zone);
  if (!IsKnownTimeZone(spec.time_zone)) {
    violations.Add(absl::StrCat(prefix, "time_zone"),
                   "must be an IANA time zone, such as Europe/Berlin");
  }
  PrepareInstant(absl::StrCat(prefix, "start_time"), spec.start_time, violations);
  PrepareInstant(absl::StrCat(prefix, "end_time"), spec.end_time, violations);
  if (spec.start_time && spec.end_time && *spec.start_time >= *spec.end_time) {
    violations.Add(absl::StrCat(prefix, "end_time"), "must be after start_time");
  }
}

void PrepareSettings(absl::string_view default_zone, ScheduleSettings& settings,
                     Violations& violations) {
  PrepareName(settings.name, violations);
  PrepareSpec("schedule.spec.", default_zone, settings.spec, violations);
  PrepareTemplate(settings.task, violations);
  PrepareMisfireLimit(settings.misfire_limit, violations);
  PrepareWindow(settings.catch_up_window, violations);
  PrepareJitter(settings.jitter, violations);
}

void PrepareChange(absl::string_view default_zone, ScheduleChange& change, Violations& violations) {
  if (change.name) PrepareName(*change.name, violations);
  if (change.spec) PrepareSpec("schedule.spec.", default_zone, *change.spec, violations);
  if (change.task) PrepareTemplate(*change.task, violations);
  if (change.misfire_limit) PrepareMisfireLimit(*change.misfire_limit, violations);
  if (change.catch_up_window) PrepareWindow(*change.catch_up_window, violations);
  if (change.jitter) PrepareJitter(*change.jitter, violations);
}

void CheckScheduleId(absl::string_view field, std::int64_t id, Violations& violations) {
  if (id <= 0) violations.Add(field, "must be positive");
}

void CheckScheduleName(absl::string_view field, absl::string_view name, Violations& violations) {
  CheckText(field, name, {.min = 1, .max = kMaxScheduleName}, violations);
}

void PrepareBackfill(BackfillRange& range, Violations& violations) {
  if (!range.start) violations.Add("start_time", "must be set");
  if (!range.end) violations.Add("end_time", "must be set");
  PrepareInstant("start_time", range.start, violations);
  PrepareInstant("end_time", range.end, violations);
  if (range.start && range.end && *range.start >= *range.end) {
    violations.Add("end_time", "must be after start_time");
  }
  if (range.limit < 0) violations.Add("limit", "must not be negative");
  if (range.limit == 0) range.limit = kDefaultBackfill;
  range.limit = std::min(range.limit, kMaxBackfill);
}

void PreparePreview(const std::optional<absl::Time>& after, std::int32_t& limit,
                    Violations& violations) {
  std::optional<absl::Time> stored = after;
  PrepareInstant("after_time", stored, violations);
  if (limit < 0) violations.Add("limit", "must not be negative");
  if (limit == 0) limit = kDefaultPreview;
  limit = std::min(limit, kMaxPreview);
}

}  // namespace parley::scheduler
