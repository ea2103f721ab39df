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

template <class Enum, std::size_t kSize>
Enum FromLabel(const std::array<absl::string_view, kSize>& names, const std::string& name) {
  for (std::size_t i = 0; i < kSize; ++i) {
    if (names[i] == name) return static_cast<Enum>(i);
  }
  throw soci::soci_error("a task's row holds a name that this version does not know");
}

std::optional<absl::Time> OptionalTime(const soci::values& values, const char* name) {
  if (values.get_indicator(name) == soci::i_null) return std::nullopt;
  return TimeColumn(values, name);
}

// The value, or soci_error: a row that this version cannot read.
template <class T>
T ValueOrThrow(absl::StatusOr<T> value) {
  if (!value.ok()) throw soci::soci_error(std::string(value.status().message()));
  return *std::move(value);
}

std::optional<LocalTime> ReadLocalTime(const soci::values& values) {
  if (values.get_indicator("local_date_time") == soci::i_null) return std::nullopt;
  return ValueOrThrow(
      LocalTimeFromLabels({.date_time = values.get<std::string>("local_date_time"),
                           .time_zone = values.get<std::string>("time_zone"),
                           .gap_policy = values.get<std::string>("gap_policy"),
                           .fold_policy = values.get<std::string>("fold_policy"),
                           .resolution = values.get<std::string>("local_resolution")}));
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

absl::StatusOr<LocalTime> LocalTimeFromLabels(LocalTimeLabels labels) {
  try {
    return LocalTime{.date_time = std::move(labels.date_time),
                     .time_zone = std::move(labels.time_zone),
                     .gap_policy = FromLabel<GapPolicy>(kGapPolicies, labels.gap_policy),
                     .fold_policy = FromLabel<FoldPolicy>(kFoldPolicies, labels.fold_policy),
                     .resolution = LocalTimeResolutionFromLabel(labels.resolution)};
  } catch (const soci::soci_error& error) {
    return InternalError(error.what());
  }
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
  task.expire_time = OptionalTime(values, "expires_at");
  task.lease_until = OptionalTime(values, "lease_until");
  task.cancel_requested = values.get<int>("cancel_requested") != 0;
  task.errors = ValueOrThrow(TaskErrorsFromJson(values.get<std::string>("errors")));
  task.result = absl::HexStringToBytes(values.get<std::string>("result"));
  task.create_time = TimeColumn(values, "created_at");
  task.update_time = TimeColumn(values, "updated_at");
  task.local_time = ReadLocalTime(values);
  row.lease_token = ReadLeaseToken(values);
  return row;
}

}  // namespace parley::db
