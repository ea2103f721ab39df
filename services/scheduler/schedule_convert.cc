#include "services/scheduler/schedule_convert.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/fingerprint.h"
#include "services/jobs/local_time_convert.h"
#include "services/runtime/wire.h"
#include "services/scheduler/task_convert.h"

namespace parley::scheduler {
namespace {

using google::protobuf::Timestamp;

pb::MisfirePolicy ToProto(MisfirePolicy policy) {
  switch (policy) {
    case MisfirePolicy::kSkip:
      return pb::MISFIRE_POLICY_SKIP;
    case MisfirePolicy::kLatest:
      return pb::MISFIRE_POLICY_LATEST;
    case MisfirePolicy::kAll:
      return pb::MISFIRE_POLICY_ALL;
  }
  return pb::MISFIRE_POLICY_UNSPECIFIED;
}

pb::OverlapPolicy ToProto(OverlapPolicy policy) {
  switch (policy) {
    case OverlapPolicy::kSkip:
      return pb::OVERLAP_POLICY_SKIP;
    case OverlapPolicy::kBufferOne:
      return pb::OVERLAP_POLICY_BUFFER_ONE;
    case OverlapPolicy::kAllow:
      return pb::OVERLAP_POLICY_ALLOW;
    case OverlapPolicy::kCancelOther:
      return pb::OVERLAP_POLICY_CANCEL_OTHER;
  }
  return pb::OVERLAP_POLICY_UNSPECIFIED;
}

MisfirePolicy MisfireFromProto(pb::MisfirePolicy policy, Violations& violations) {
  switch (policy) {
    case pb::MISFIRE_POLICY_SKIP:
      return MisfirePolicy::kSkip;
    case pb::MISFIRE_POLICY_UNSPECIFIED:
    case pb::MISFIRE_POLICY_LATEST:
      return MisfirePolicy::kLatest;
    case pb::MISFIRE_POLICY_ALL:
      return MisfirePolicy::kAll;
    default:
      violations.Add("schedule.misfire_policy", "is not a known value");
      return MisfirePolicy::kLatest;
  }
}

OverlapPolicy OverlapFromProto(pb::OverlapPolicy policy, Violations& violations) {
  switch (policy) {
    case pb::OVERLAP_POLICY_UNSPECIFIED:
    case pb::OVERLAP_POLICY_SKIP:
      return OverlapPolicy::kSkip;
    case pb::OVERLAP_POLICY_BUFFER_ONE:
      return OverlapPolicy::kBufferOne;
    case pb::OVERLAP_POLICY_ALLOW:
      return OverlapPolicy::kAllow;
    case pb::OVERLAP_POLICY_CANCEL_OTHER:
      return OverlapPolicy::kCancelOther;
    default:
      violations.Add("schedule.overlap_policy", "is not a known value");
      return OverlapPolicy::kSkip;
  }
}

pb::ScheduleSpec SpecToProto(const ScheduleSpec& spec) {
  pb::ScheduleSpec result;
  if (spec.cron.empty()) {
    *result.mutable_interval()->mutable_every() = runtime::ToDuration(spec.interval);
    if (spec.anchor) {
      *result.mutable_interval()->mutable_anchor_time() = runtime::ToTimestamp(*spec.anchor);
    }
  } else {
    result.set_cron(spec.cron);
  }
  result.set_time_zone(spec.time_zone);
  if (spec.start_time) *result.mutable_start_time() = runtime::ToTimestamp(*spec.start_time);
  if (spec.end_time) *result.mutable_end_time() = runtime::ToTimestamp(*spec.end_time);
  return result;
}

pb::TaskTemplate TemplateToProto(const TaskTemplate& task) {
  pb::TaskTemplate result;
  result.set_queue(task.queue);
  result.set_name(task.name);
  result.set_payload(task.payload);
  result.mutable_headers()->insert(task.headers.begin(), task.headers.end());
  result.set_priority(task.priority);
  result.set_max_attempts(task.max_attempts);
  if (task.expire_after) *result.mutable_expire_after() = runtime::ToDuration(*task.expire_after);
  if (task.retry != RetryPolicy()) *result.mutable_retry_policy() = scheduler::ToProto(task.retry);
  if (task.run_timeout) *result.mutable_run_timeout() = runtime::ToDuration(*task.run_timeout);
  result.set_concurrency_key(task.concurrency_key);
  return result;
}

TaskTemplate TemplateFromProto(const pb::TaskTemplate& proto, Violations& violations) {
  violations.SetPrefix("schedule.task.");
  TaskTemplate task;
  task.queue = proto.queue();
  task.name = proto.name();
  task.payload = proto.payload();
  task.headers.insert(proto.headers().begin(), proto.headers().end());
  task.priority = proto.priority();
  task.max_attempts = proto.max_attempts();
  if (proto.has_expire_after()) {
    task.expire_after = DurationFromProto("expire_after", proto.expire_after(), violations);
  }
  if (proto.has_retry_policy()) task.retry = FromProto(proto.retry_policy(), violations);
  if (proto.has_run_timeout()) {
    task.run_timeout = DurationFromProto("run_timeout", proto.run_timeout(), violations);
  }
  task.concurrency_key = proto.concurrency_key();
  violations.SetPrefix("");
  return task;
}

absl::Duration WindowFromProto(const pb::Schedule& schedule, Violations& violations) {
  if (!schedule.has_catch_up_window()) return kDefaultCatchUpWindow;
  return DurationFromProto("schedule.catch_up_window", schedule.catch_up_window(), violations);
}

absl::Duration JitterFromProto(const pb::Schedule& schedule, Violations& violations) {
  return DurationFromProto("schedule.jitter", schedule.jitter(), violations);
}

// Fields that an update without a mask is to change.
std::vector<std::string> PopulatedFields(const pb::Schedule& schedule) {
  std::vector<std::string> populated;
  if (!schedule.name().empty()) populated.emplace_back("name");
  if (schedule.has_spec()) populated.emplace_back("spec");
  if (schedule.has_task()) populated.emplace_back("task");
  if (schedule.misfire_policy() != pb::MISFIRE_POLICY_UNSPECIFIED) {
    populated.emplace_back("misfire_policy");
  }
  if (schedule.misfire_limit() != 0) populated.emplace_back("misfire_limit");
  if (schedule.has_catch_up_window()) populated.emplace_back("catch_up_window");
  if (schedule.overlap_policy() != pb::OVERLAP_POLICY_UNSPECIFIED) {
    populated.emplace_back("overlap_policy");
  }
  if (schedule.has_jitter()) populated.emplace_back("jitter");
  return populated;
}

// The same text for the same content: maps and unknown fields apart, that is what serialized
// messages are.
template <class Message>
std::string Deterministic(const Message& message) {
  std::string text;
  google::protobuf::io::StringOutputStream stream(&text);
  google::protobuf::io::CodedOutputStream output(&stream);
  output.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&output);
  output.Trim();
  return text;
}

}  // namespace

pb::Schedule ToProto(const Schedule& schedule) {
  const auto set = [](const std::optional<absl::Time>& time, Timestamp* (pb::Schedule::*field)(),
                      pb::Schedule& result) {
    if (time) *(result.*field)() = runtime::ToTimestamp(*time);
  };
  pb::Schedule result;
  result.set_id(schedule.id);
  result.set_name(schedule.name);
  *result.mutable_spec() = SpecToProto(schedule.spec);
  *result.mutable_task() = TemplateToProto(schedule.task);
  result.set_misfire_policy(ToProto(schedule.misfire_policy));
  result.set_misfire_limit(schedule.misfire_limit);
  *result.mutable_catch_up_window() = runtime::ToDuration(schedule.catch_up_window);
  result.set_overlap_policy(ToProto(schedule.overlap_policy));
  *result.mutable_jitter() = runtime::ToDuration(schedule.jitter);
  set(schedule.paused_at, &pb::Schedule::mutable_pause_time, result);
  result.set_pause_note(schedule.pause_note);
  if (!schedule.paused_at) {
    set(schedule.next_fire_time, &pb::Schedule::mutable_next_fire_time, result);
  }
  set(schedule.buffered_fire_time, &pb::Schedule::mutable_buffered_fire_time, result);
  set(schedule.last_fire_time, &pb::Schedule::mutable_last_fire_time, result);
  result.set_last_task_id(schedule.last_task_id);
  pb::ScheduleCounters& counters = *result.mutable_counters();
  counters.set_fired(schedule.counters.fired);
  counters.set_missed(schedule.counters.missed);
  counters.set_overlapped(schedule.counters.overlapped);
  counters.set_buffered(schedule.counters.buffered);
  counters.set_triggered(schedule.counters.triggered);
  counters.set_backfilled(schedule.counters.backfilled);
  *result.mutable_create_time() = runtime::ToTimestamp(schedule.create_time);
  *result.mutable_update_time() = runtime::ToTimestamp(schedule.update_time);
  result.set_etag(runtime::ToEtag(schedule.version));
  return result;
}

pb::FireTime ToProto(const Occurrence& occurrence, const absl::TimeZone& zone) {
  pb::FireTime result;
  *result.mutable_fire_time() = runtime::ToTimestamp(occurrence.time);
  result.set_local_time(absl::FormatTime(absl::RFC3339_full, occurrence.time, zone));
  result.set_resolution(jobs::ToProto(occurrence.resolution));
  return result;
}

ScheduleSpec FromProto(absl::string_view prefix, const pb::ScheduleSpec& proto,
                       Violations& violations) {
  ScheduleSpec spec;
  const auto time = [&](absl::string_view field, const Timestamp& value) {
    return runtime::FromTimestamp(absl::StrCat(prefix, field), value, violations);
  };
  switch (proto.rule_case()) {
    case pb::ScheduleSpec::kCron:
      spec.cron = proto.cron();
      if (spec.cron.empty()) violations.Add(absl::StrCat(prefix, "cron"), "must not be empty");
      break;
    case pb::ScheduleSpec::kInterval:
      break;
    case pb::ScheduleSpec::RULE_NOT_SET:
      violations.Add(absl::StrCat(prefix, "cron"), "must be set, or interval");
      break;
  }
  // What is no rule at all is read as an interval that is right: one violation is enough.
  spec.interval = spec.cron.empty() ? absl::Hours(1) : absl::ZeroDuration();
  if (proto.has_interval()) {
    spec.interval = DurationFromProto(absl::StrCat(prefix, "interval.every"),
                                      proto.interval().every(), violations);
    if (proto.interval().has_anchor_time()) {
      spec.anchor = time("interval.anchor_time", proto.interval().anchor_time());
    }
  }
  spec.time_zone = proto.time_zone();
  if (proto.has_start_time()) spec.start_time = time("start_time", proto.start_time());
  if (proto.has_end_time()) spec.end_time = time("end_time", proto.end_time());
  return spec;
}

ScheduleSettings SettingsFromProto(const pb::Schedule& schedule, Violations& violations) {
  ScheduleSettings settings;
  settings.name = schedule.name();
  settings.spec = FromProto("schedule.spec.", schedule.spec(), violations);
  settings.task = TemplateFromProto(schedule.task(), violations);
  settings.misfire_policy = MisfireFromProto(schedule.misfire_policy(), violations);
  settings.misfire_limit = schedule.misfire_limit();
  settings.catch_up_window = WindowFromProto(schedule, violations);
  settings.overlap_policy = OverlapFromProto(schedule.overlap_policy(), violations);
  settings.jitter = JitterFromProto(schedule, violations);
  return settings;
}

ScheduleChange ToChange(const pb::UpdateScheduleRequest& request, Violations& violations) {
  const pb::Schedule& schedule = request.schedule();
  const std::set<std::string> fields =
      runtime::FieldsToUpdate(request.has_update_mask() ? &request.update_mask() : nullptr,
                              {"name", "spec", "task", "misfire_policy", "misfire_limit",
                               "catch_up_window", "overlap_policy", "jitter"},
                              PopulatedFields(schedule), violations);
  ScheduleChange change;
  if (fields.contains("name")) change.name = schedule.name();
  if (fields.contains("spec")) {
    change.spec = FromProto("schedule.spec.", schedule.spec(), violations);
  }
  if (fields.contains("task")) change.task = TemplateFromProto(schedule.task(), violations);
  if (fields.contains("misfire_policy")) {
    change.misfire_policy = MisfireFromProto(schedule.misfire_policy(), violations);
  }
  if (fields.contains("misfire_limit")) change.misfire_limit = schedule.misfire_limit();
  if (fields.contains("catch_up_window")) {
    change.catch_up_window = WindowFromProto(schedule, violations);
  }
  if (fields.contains("overlap_policy")) {
    change.overlap_policy = OverlapFromProto(schedule.overlap_policy(), violations);
  }
  if (fields.contains("jitter")) change.jitter = JitterFromProto(schedule, violations);
  return change;
}

BackfillRange RangeFromProto(const pb::BackfillScheduleRequest& request, Violations& violations) {
  BackfillRange range;
  if (request.has_start_time()) {
    range.start = runtime::FromTimestamp("start_time", request.start_time(), violations);
  }
  if (request.has_end_time()) {
    range.end = runtime::FromTimestamp("end_time", request.end_time(), violations);
  }
  range.limit = request.limit();
  return range;
}

std::string FingerprintOf(const pb::CreateScheduleRequest& request) {
  return Fingerprint({"CreateSchedule", Deterministic(request.schedule())});
}

std::string FingerprintOf(const pb::BackfillScheduleRequest& request) {
  return Fingerprint({"BackfillSchedule", Deterministic(request.start_time()),
                      Deterministic(request.end_time()), absl::StrCat(request.limit())});
}

}  // namespace parley::scheduler
