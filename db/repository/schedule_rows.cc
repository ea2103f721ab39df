#include "db/repository/schedule_rows.h"

#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "db/repository/columns.h"
#include "db/repository/task_rows.h"

namespace parley::db {
namespace {

// In the order of the enums' values. Persisted: names may be added, not changed.
constexpr std::array<absl::string_view, 3> kMisfirePolicies = {"skip", "latest", "all"};
constexpr std::array<absl::string_view, 4> kOverlapPolicies = {"skip", "buffer_one", "allow",
                                                               "cancel_other"};

template <class Enum, std::size_t kSize>
Enum PolicyFromLabel(const std::array<absl::string_view, kSize>& labels, const std::string& label) {
  for (std::size_t i = 0; i < kSize; ++i) {
    if (labels[i] == label) return static_cast<Enum>(i);
  }
  throw soci::soci_error("a schedule's row holds a policy that this version does not know");
}

std::optional<std::int64_t> OptionalNumber(const soci::values& values, const char* name) {
  if (values.get_indicator(name) == soci::i_null) return std::nullopt;
  return values.get<long long>(name);
}

std::optional<absl::Duration> OptionalDuration(const soci::values& values, const char* name) {
  const std::optional<std::int64_t> micros = OptionalNumber(values, name);
  if (!micros) return std::nullopt;
  return absl::Microseconds(*micros);
}

std::optional<absl::Time> OptionalInstant(const soci::values& values, const char* name) {
  const std::optional<std::int64_t> micros = OptionalNumber(values, name);
  if (!micros) return std::nullopt;
  return absl::FromUnixMicros(*micros);
}

absl::Duration DurationColumn(const soci::values& values, const char* name) {
  return absl::Microseconds(values.get<long long>(name));
}

TaskTemplate ReadTemplate(const soci::values& values) {
  TaskTemplate task;
  task.queue = values.get<std::string>("queue");
  task.name = values.get<std::string>("task_name");
  task.payload = absl::HexStringToBytes(values.get<std::string>("payload"));
  auto headers = HeadersFromJson(values.get<std::string>("headers"));
  if (!headers.ok()) throw soci::soci_error(std::string(headers.status().message()));
  task.headers = *std::move(headers);
  task.priority = values.get<int>("priority");
  if (values.get_indicator("max_attempts") != soci::i_null) {
    task.max_attempts = values.get<int>("max_attempts");
  }
  task.expire_after = OptionalDuration(values, "expire_after_us");
  if (const auto json = OptionalTextColumn(values, "options")) {
    const absl::StatusOr<TaskOptions> options = TaskOptionsFromJson(*json);
    if (!options.ok()) throw soci::soci_error(std::string(options.status().message()));
    task.retry = options->retry;
    task.run_timeout = options->run_timeout;
  }
  task.concurrency_key = OptionalTextColumn(values, "concurrency_key").value_or("");
  return task;
}

std::optional<std::string> NullIfEmpty(std::string text) {
  if (text.empty()) return std::nullopt;
  return text;
}

std::optional<std::int64_t> Micros(const std::optional<absl::Duration>& duration) {
  if (!duration) return std::nullopt;
  return absl::ToInt64Microseconds(*duration);
}

}  // namespace

Schedule ReadScheduleTiming(const soci::values& values) {
  Schedule schedule;
  schedule.id = values.get<long long>("id");
  schedule.spec.cron = OptionalTextColumn(values, "cron").value_or("");
  schedule.spec.interval = OptionalDuration(values, "interval_us").value_or(absl::ZeroDuration());
  schedule.spec.anchor = OptionalInstant(values, "anchor_at");
  schedule.spec.time_zone = values.get<std::string>("time_zone");
  schedule.spec.start_time = OptionalInstant(values, "start_at");
  schedule.spec.end_time = OptionalInstant(values, "end_at");
  schedule.misfire_policy =
      PolicyFromLabel<MisfirePolicy>(kMisfirePolicies, values.get<std::string>("misfire_policy"));
  schedule.misfire_limit = values.get<int>("misfire_limit");
  schedule.catch_up_window = DurationColumn(values, "catch_up_window_us");
  schedule.overlap_policy =
      PolicyFromLabel<OverlapPolicy>(kOverlapPolicies, values.get<std::string>("overlap_policy"));
  schedule.jitter = DurationColumn(values, "jitter_us");
  schedule.considered_until = TimeColumn(values, "considered_until");
  schedule.next_fire_time = OptionalInstant(values, "next_fire_at");
  schedule.buffered_fire_time = OptionalInstant(values, "buffered_fire_at");
  return schedule;
}

Schedule ReadSchedule(const soci::values& values) {
  Schedule schedule = ReadScheduleTiming(values);
  schedule.name = OptionalTextColumn(values, "name").value_or("");
  schedule.task = ReadTemplate(values);
  schedule.paused_at = OptionalInstant(values, "paused_at");
  schedule.pause_note = values.get<std::string>("pause_note");
  schedule.last_fire_time = OptionalInstant(values, "last_fire_at");
  schedule.last_task_id = OptionalNumber(values, "last_task_id").value_or(0);
  schedule.counters = {.fired = values.get<long long>("fired"),
                       .missed = values.get<long long>("missed"),
                       .overlapped = values.get<long long>("overlapped"),
                       .buffered = values.get<long long>("buffered"),
                       .triggered = values.get<long long>("triggered"),
                       .backfilled = values.get<long long>("backfilled")};
  schedule.version = values.get<long long>("version");
  schedule.create_time = TimeColumn(values, "created_at");
  schedule.update_time = TimeColumn(values, "updated_at");
  return schedule;
}

NextFiringRow ReadNextFiring(const soci::values& values) {
  return {.due_in = OptionalDuration(values, "due_in"),
          .buffering = values.get<int>("buffering") != 0};
}

std::vector<Bind> SettingsBinds(const ScheduleSettings& settings) {
  const ScheduleSpec& spec = settings.spec;
  const TaskTemplate& task = settings.task;
  const bool by_cron = !spec.cron.empty();
  std::optional<std::int64_t> interval_us;
  if (!by_cron) interval_us = absl::ToInt64Microseconds(spec.interval);
  std::optional<std::int32_t> max_attempts;
  if (task.max_attempts != 0) max_attempts = task.max_attempts;
  const TaskOptions options = {.retry = task.retry, .run_timeout = task.run_timeout};
  return {{"name", NullIfEmpty(settings.name)},
          {"cron", NullIfEmpty(spec.cron)},
          {"interval_us", interval_us},
          {"anchor_us", by_cron ? std::nullopt : spec.anchor},
          {"time_zone", spec.time_zone},
          {"start_us", spec.start_time},
          {"end_us", spec.end_time},
          {"queue", task.queue},
          {"task_name", task.name},
          {"payload", absl::BytesToHexString(task.payload)},
          {"headers", nlohmann::json(task.headers).dump()},
          {"priority", task.priority},
          {"max_attempts", max_attempts},
          {"expire_after_us", Micros(task.expire_after)},
          {"options", NullIfEmpty(TaskOptionsToJson(options))},
          {"concurrency_key", NullIfEmpty(task.concurrency_key)},
          {"misfire_policy", kMisfirePolicies[static_cast<std::size_t>(settings.misfire_policy)]},
          {"misfire_limit", settings.misfire_limit},
          {"catch_up_window_us", absl::ToInt64Microseconds(settings.catch_up_window)},
          {"overlap_policy", kOverlapPolicies[static_cast<std::size_t>(settings.overlap_policy)]},
          {"jitter_us", absl::ToInt64Microseconds(settings.jitter)}};
}

}  // namespace parley::db
