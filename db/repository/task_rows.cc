#include "db/repository/task_rows.h"

#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "db/repository/columns.h"

namespace parley::db {
namespace {

// In the order of the enums' values.
constexpr std::array<absl::string_view, 5> kStates = {"pending", "running", "succeeded", "dead",
                                                      "cancelled"};
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

std::map<std::string, std::string> ReadHeaders(const soci::values& values) {
  const nlohmann::json headers = nlohmann::json::parse(values.get<std::string>("headers"), nullptr,
                                                       /*allow_exceptions=*/false);
  if (!headers.is_object()) throw soci::soci_error("a task's headers are no JSON object");
  std::map<std::string, std::string> result;
  for (const auto& [name, value] : headers.items()) {
    if (!value.is_string()) throw soci::soci_error("a task's header is no string");
    result.emplace(name, value.get<std::string>());
  }
  return result;
}

std::optional<LocalTime> ReadLocalTime(const soci::values& values) {
  if (values.get_indicator("local_date_time") == soci::i_null) return std::nullopt;
  return LocalTime{
      .date_time = values.get<std::string>("local_date_time"),
      .time_zone = values.get<std::string>("time_zone"),
      .gap_policy = FromLabel<GapPolicy>(kGapPolicies, values.get<std::string>("gap_policy")),
      .fold_policy = FromLabel<FoldPolicy>(kFoldPolicies, values.get<std::string>("fold_policy")),
      .resolution = LocalTimeResolutionFromLabel(values.get<std::string>("local_resolution"))};
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

TaskState ReadTaskState(const soci::values& values) {
  return FromLabel<TaskState>(kStates, values.get<std::string>("state"));
}

TaskRow ReadTaskRow(const soci::values& values) {
  TaskRow row;
  Task& task = row.task;
  task.id = values.get<long long>("id");
  task.queue = values.get<std::string>("queue");
  task.name = values.get<std::string>("name");
  task.payload = absl::HexStringToBytes(values.get<std::string>("payload"));
  task.headers = ReadHeaders(values);
  task.run_time = TimeColumn(values, "run_at");
  task.priority = values.get<int>("priority");
  task.state = ReadTaskState(values);
  task.attempt = values.get<int>("attempt");
  task.max_attempts = values.get<int>("max_attempts");
  if (values.get_indicator("lease_until") != soci::i_null) {
    task.lease_until = TimeColumn(values, "lease_until");
  }
  task.last_error = values.get<std::string>("last_error");
  task.create_time = TimeColumn(values, "created_at");
  task.update_time = TimeColumn(values, "updated_at");
  task.local_time = ReadLocalTime(values);
  row.lease_token = values.get<std::string>("lease_token", "");
  return row;
}

}  // namespace parley::db
