#include "db/repository/queue_target_json.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace parley::db {
namespace {

constexpr char kFireAndForget[] = "fire_and_forget";
constexpr char kTrackResult[] = "track_result";

GrpcDelivery GrpcFrom(const nlohmann::json& json) {
  return {.timeout = absl::Microseconds(json.at("timeout_us").get<std::int64_t>()),
          .max_calls = json.at("max_calls").get<std::int32_t>()};
}

CeleryDelivery CeleryFrom(const nlohmann::json& json) {
  return {.queue = json.at("queue").get<std::string>(),
          .mode = json.at("mode").get<std::string>() == kTrackResult
                      ? CeleryDelivery::Mode::kTrackResult
                      : CeleryDelivery::Mode::kFireAndForget,
          .result_timeout = absl::Microseconds(json.at("result_timeout_us").get<std::int64_t>()),
          .redis_priorities = json.at("redis_priorities").get<bool>()};
}

}  // namespace

std::string ToJson(const QueueTarget& target) {
  nlohmann::json json = {{"name", target.name}};
  if (const auto* grpc = std::get_if<GrpcDelivery>(&target.delivery)) {
    json["grpc"] = {{"timeout_us", absl::ToInt64Microseconds(grpc->timeout)},
                    {"max_calls", grpc->max_calls}};
  }
  if (const auto* celery = std::get_if<CeleryDelivery>(&target.delivery)) {
    const bool tracks = celery->mode == CeleryDelivery::Mode::kTrackResult;
    json["celery"] = {{"queue", celery->queue},
                      {"mode", tracks ? kTrackResult : kFireAndForget},
                      {"result_timeout_us", absl::ToInt64Microseconds(celery->result_timeout)},
                      {"redis_priorities", celery->redis_priorities}};
  }
  return json.dump();
}

absl::StatusOr<QueueTarget> QueueTargetFromJson(absl::string_view text) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text.begin(), text.end());
    QueueTarget target = {.name = json.at("name").get<std::string>()};
    if (json.contains("grpc")) {
      target.delivery = GrpcFrom(json["grpc"]);
    } else {
      target.delivery = CeleryFrom(json.at("celery"));
    }
    return target;
  } catch (const nlohmann::json::exception&) {
    return InternalError("a queue's row holds a target that this version does not write");
  }
}

}  // namespace parley::db
