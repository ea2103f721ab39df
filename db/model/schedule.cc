#include "db/model/schedule.h"

#include "absl/strings/str_cat.h"
#include "base/cron.h"
#include "base/error.h"

namespace parley {
namespace {

absl::StatusOr<Recurrence> RuleOf(const ScheduleSpec& spec) {
  if (spec.cron.empty()) return Recurrence(spec.interval, spec.anchor.value_or(absl::UnixEpoch()));
  absl::TimeZone zone;
  if (!absl::LoadTimeZone(spec.time_zone, &zone)) {
    return InternalError(absl::StrCat("this host does not know the zone ", spec.time_zone));
  }
  const absl::StatusOr<CronExpression> cron = CronExpression::Parse(spec.cron);
  if (!cron.ok()) return InternalError("a schedule's cron expression is none");
  return Recurrence(*cron, zone);
}

}  // namespace

void SetAnchor(ScheduleSpec& spec, absl::Time now) {
  if (spec.cron.empty() && !spec.anchor) spec.anchor = spec.start_time.value_or(now);
}

absl::StatusOr<Recurrence> RecurrenceOf(const ScheduleSpec& spec) {
  absl::StatusOr<Recurrence> recurrence = RuleOf(spec);
  if (recurrence.ok()) {
    recurrence->Limit(spec.start_time.value_or(absl::InfinitePast()),
                      spec.end_time.value_or(absl::InfiniteFuture()));
  }
  return recurrence;
}

}  // namespace parley
