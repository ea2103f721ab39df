#include "db/repository/task_rows.h"

#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"
#include "base/error.h"
#include "db/repository/columns.h"

namespace parley::db {
namespace {

// In the order of the enums' values.
constexpr std::array<absl::string_view, 6> kStates = {"pending", "running",   "succeeded",
                                                      "dead",    "cancelled", "expired"};
constexpr std::array<absl::string_view, 2> kGapPolicies = {"shift", "reject"};
constexpr std::array<absl::string_view, 3> kFoldPolicies = {"first", "second", "reject"};
constexpr std::array<absl::string_view, 3> kResolutions = {"unique", "shifted", "ambiguous"};
constexpr std::array<absl::string_view, 3> kDedupePolicies = {"reject", "replace", "keep"};

template <class Enum, std::size_t kSize>
Enum FromLabel(const std::array<absl::string_view, kSize>& names, const std::string& name) {
  for (std::size_t i = 0; i < kSize; ++i) {
    if (names[i] == name) return static_cast<Enum>(i);
  }
  throw soci::soci_error("a task's row holds a name that this version does not know");
}

// The value, or soci_error: a row that this version cannot read.
template <class T>
T ValueOrThrow(absl::StatusOr<T> value) {
  if (!value.ok()) throw soci::soci_error(std::string(value.status().message()));
  return *std::move(value);
}

using Json = nlohmann::json;

std::optional<absl::Duration> DurationAt(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return std::nullopt;
  return absl::Microseconds(found->get<std::int64_t>());
}

std::optional<double> NumberAt(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return std::nullopt;
  return found->get<double>();
}

LocalTime LocalTimeFrom(const Json& json) {
  const auto text = [&](const char* key) { return json.at(key).get<std::string>(); };
  return {.date_time = text("date_time"),
          .time_zone = text("time_zone"),
          .gap_policy = FromLabel<GapPolicy>(kGapPolicies, text("gap_policy")),
          .fold_policy = FromLabel<FoldPolicy>(kFoldPolicies, text("fold_policy")),
          .resolution = LocalTimeResolutionFromLabel(text("resolution"))};
}

RetryPolicy RetryPolicyFrom(const Json& json) {
  return {.first = DurationAt(json, "first_us"),
          .longest = DurationAt(json, "longest_us"),
          .multiplier = NumberAt(json, "multiplier"),
          .jitter = NumberAt(json, "jitter")};
}

Json JsonOf(const LocalTime& time) {
  return {{"date_time", time.date_time},
          {"time_zone", time.time_zone},
          {"gap_policy", ToLabel(time.gap_policy)},
          {"fold_policy", ToLabel(time.fold_policy)},
          {"resolution", ToLabel(time.resolution)}};
}

Json JsonOf(const RetryPolicy& policy) {
  Json json = Json::object();
  if (policy.first) json["first_us"] = absl::ToInt64Microseconds(*policy.first);
  if (policy.longest) json["longest_us"] = absl::ToInt64Microseconds(*policy.longest);
  if (policy.multiplier) json["multiplier"] = *policy.multiplier;
  if (policy.jitter) json["jitter"] = *policy.jitter;
  return json;
}

// What `read` makes of a JSON text. INTERNAL for what this version does not write.
template <class T>
absl::StatusOr<T> FromJson(absl::string_view text, T (*read)(const Json&)) {
  try {
    return read(Json::parse(text.begin(), text.end()));
  } catch (const Json::exception&) {
    return InternalError("a task's row holds JSON that this version does not write");
  } catch (const soci::soci_error& error) {
    return InternalError(error.what());
  }
}

}  // namespace

absl::string_view ToLabel(TaskState state) { return kStates[static_cast<std::size_t>(state)]; }
absl::string_view ToLabel(GapPolicy policy) {
  return kGapPolicies[static_cast<std::size_t>(policy)];
}
absl::string_view ToLabel(FoldPolicy policy) {
  return kFoldPolicies[static_cast<std::size_t>(policy)];
}
absl::string_view ToLabel(LocalTimeResolution resolution) {
  return kResolutions[static_cast<std::size_t>(resolution)];
}
absl::string_view ToLabel(DedupePolicy policy) {
  return kDedupePolicies[static_cast<std::size_t>(policy)];
}

LocalTimeResolution LocalTimeResolutionFromLabel(const std::string& label) {
  return FromLabel<LocalTimeResolution>(kResolutions, label);
}

absl::StatusOr<std::map<std::string, std::string>> HeadersFromJson(absl::string_view json) {
  const nlohmann::json headers = nlohmann::json::parse(json.begin(), json.end(), nullptr,
                                                       /*allow_exceptions=*/false);
  if (!headers.is_object()) return InternalError("a task's headers are no JSON object");
  std::map<std::string, std::string> result;
  for (const auto& [name, value] : headers.items()) {
    if (!value.is_string()) return InternalError("a task's header is no string");
    result.emplace(name, value.get<std::string>());
  }
  return result;
}

absl::StatusOr<std::vector<TaskError>> TaskErrorsFromJson(absl::string_view json) {
  const nlohmann::json errors = nlohmann::json::parse(json.begin(), json.end(), nullptr,
                                                      /*allow_exceptions=*/false);
  std::vector<TaskError> result;
  try {
    for (const nlohmann::json& error : errors) {
      result.push_back({.attempt = error.at("attempt").get<std::int32_t>(),
                        .time = absl::FromUnixMicros(error.at("us").get<std::int64_t>()),
                        .text = error.at("error").get<std::string>()});
    }
  } catch (const nlohmann::json::exception&) {
    return InternalError("a task's errors are not what this version writes");
  }
  return result;
}

absl::StatusOr<TaskOptions> TaskOptionsFromJson(absl::string_view json) {
  return FromJson<TaskOptions>(json, [](const Json& options) {
    TaskOptions result;
    if (const auto found = options.find("local_time"); found != options.end()) {
      result.local_time = LocalTimeFrom(*found);
    }
    if (const auto found = options.find("retry"); found != options.end()) {
      result.retry = RetryPolicyFrom(*found);
    }
    result.run_timeout = DurationAt(options, "run_timeout_us");
    result.dedupe_key = options.value("dedupe_key", "");
    return result;
  });
}

absl::StatusOr<LocalTime> LocalTimeFromJson(absl::string_view json) {
  return FromJson<LocalTime>(json, LocalTimeFrom);
}

absl::StatusOr<RetryPolicy> RetryPolicyFromJson(absl::string_view json) {
  return FromJson<RetryPolicy>(json, RetryPolicyFrom);
}

std::string TaskOptionsToJson(const TaskOptions& options) {
  Json json = Json::object();
  if (options.local_time) json["local_time"] = JsonOf(*options.local_time);
  if (options.retry != RetryPolicy()) json["retry"] = JsonOf(options.retry);
  if (options.run_timeout) {
    json["run_timeout_us"] = absl::ToInt64Microseconds(*options.run_timeout);
  }
  if (!options.dedupe_key.empty()) json["dedupe_key"] = options.dedupe_key;
  return json.empty() ? "" : json.dump();
}

std::string ToJson(const LocalTime& time) { return JsonOf(time).dump(); }
std::string ToJson(const RetryPolicy& policy) { return JsonOf(policy).dump(); }

SplitTime Split(const std::optional<absl::Time>& time) {
  if (!time) return {};
  constexpr std::int64_t kMicros = 1'000'000;
  const std::int64_t seconds = absl::ToUnixSeconds(*time);
  return {seconds, absl::ToUnixMicros(*time) - seconds * kMicros};
}

void AppendTimeBinds(const TaskTime& time, std::vector<Bind>& binds) {
  const SplitTime run = Split(time.run_time);
  binds.emplace_back("run_at_s", run.seconds);
  binds.emplace_back("run_at_us", run.micros);
  binds.emplace_back("delay_us", absl::ToInt64Microseconds(time.delay));
}

TaskState ReadTaskState(const soci::values& values) {
  return FromLabel<TaskState>(kStates, values.get<std::string>("state"));
}

std::string ReadLeaseToken(const soci::values& values) {
  return absl::StrReplaceAll(values.get<std::string>("lease_token", ""), {{"-", ""}});
}

TaskRow ReadTaskRow(const soci::values& values) {
  TaskRow row;
  Task& task = row.task;
  task.id = values.get<long long>("id");
  task.queue = values.get<std::string>("queue");
  task.name = values.get<std::string>("name");
  task.payload = absl::HexStringToBytes(values.get<std::string>("payload"));
  task.headers = ValueOrThrow(HeadersFromJson(values.get<std::string>("headers")));
  task.run_time = TimeColumn(values, "run_at");
  task.priority = values.get<int>("priority");
  task.state = ReadTaskState(values);
  task.attempt = values.get<int>("attempt");
  task.max_attempts = values.get<int>("max_attempts");
  task.expire_time = OptionalTimeColumn(values, "expires_at");
  task.lease_until = OptionalTimeColumn(values, "lease_until");
  task.cancel_requested = values.get<int>("cancel_requested") != 0;
  task.errors = ValueOrThrow(TaskErrorsFromJson(values.get<std::string>("errors")));
  task.result = absl::HexStringToBytes(values.get<std::string>("result"));
  task.create_time = TimeColumn(values, "created_at");
  task.update_time = TimeColumn(values, "updated_at");
  if (const auto options = OptionalTextColumn(values, "options")) {
    task.options = ValueOrThrow(TaskOptionsFromJson(*options));
  }
  task.concurrency_key = OptionalTextColumn(values, "concurrency_key").value_or("");
  if (const auto fire_time = OptionalTimeColumn(values, "fire_at")) {
    task.firing = {.schedule_id = values.get<long long>("schedule_id"), .fire_time = *fire_time};
  }
  row.lease_token = ReadLeaseToken(values);
  return row;
}

}  // namespace parley::db
