#include "services/scheduler/push/queue_target_convert.h"

#include <optional>
#include <variant>

#include "absl/strings/str_cat.h"
#include "services/runtime/wire.h"

namespace parley::scheduler {
namespace {

// `absent` if it is not said, or is out of a Duration's range, which is then a violation.
absl::Duration DurationOr(absl::Duration absent, absl::string_view field,
                          const google::protobuf::Duration* duration, Violations& violations) {
  if (duration == nullptr) return absent;
  return runtime::FromDuration(field, *duration, violations).value_or(absent);
}

GrpcDelivery FromProto(const pb::GrpcDelivery& grpc, Violations& violations) {
  GrpcDelivery delivery;
  delivery.timeout = DurationOr(delivery.timeout, "queue.target.grpc.timeout",
                                grpc.has_timeout() ? &grpc.timeout() : nullptr, violations);
  if (grpc.max_calls() != 0) delivery.max_calls = grpc.max_calls();
  return delivery;
}

CeleryDelivery FromProto(const pb::CeleryDelivery& celery, Violations& violations) {
  CeleryDelivery delivery;
  if (!celery.queue().empty()) delivery.queue = celery.queue();
  switch (celery.mode()) {
    case pb::CeleryDelivery::MODE_UNSPECIFIED:
    case pb::CeleryDelivery::MODE_FIRE_AND_FORGET:
      break;
    case pb::CeleryDelivery::MODE_TRACK_RESULT:
      delivery.mode = CeleryDelivery::Mode::kTrackResult;
      break;
    default:
      violations.Add("queue.target.celery.mode", "is not a known mode");
  }
  delivery.result_timeout =
      DurationOr(delivery.result_timeout, "queue.target.celery.result_timeout",
                 celery.has_result_timeout() ? &celery.result_timeout() : nullptr, violations);
  delivery.redis_priorities = celery.redis_priorities();
  return delivery;
}

}  // namespace

pb::QueueTarget ToProto(const QueueTarget& target) {
  pb::QueueTarget result;
  result.set_name(target.name);
  if (const auto* grpc = std::get_if<GrpcDelivery>(&target.delivery)) {
    *result.mutable_grpc()->mutable_timeout() = runtime::ToDuration(grpc->timeout);
    result.mutable_grpc()->set_max_calls(grpc->max_calls);
  }
  if (const auto* celery = std::get_if<CeleryDelivery>(&target.delivery)) {
    const bool tracks = celery->mode == CeleryDelivery::Mode::kTrackResult;
    result.mutable_celery()->set_queue(celery->queue);
    result.mutable_celery()->set_mode(tracks ? pb::CeleryDelivery::MODE_TRACK_RESULT
                                             : pb::CeleryDelivery::MODE_FIRE_AND_FORGET);
    *result.mutable_celery()->mutable_result_timeout() =
        runtime::ToDuration(celery->result_timeout);
    result.mutable_celery()->set_redis_priorities(celery->redis_priorities);
  }
  return result;
}

QueueTarget FromProto(const pb::QueueTarget& target, Violations& violations) {
  QueueTarget result = {.name = target.name()};
  switch (target.delivery_case()) {
    case pb::QueueTarget::kGrpc:
      result.delivery = FromProto(target.grpc(), violations);
      break;
    case pb::QueueTarget::kCelery:
      result.delivery = FromProto(target.celery(), violations);
      break;
    case pb::QueueTarget::DELIVERY_NOT_SET:
      violations.Add("queue.target", "must say how to deliver: grpc or celery");
  }
  return result;
}

std::string ToText(const pb::QueueTarget& target) {
  const auto duration = [](const google::protobuf::Duration& said) {
    return absl::StrCat(said.seconds(), ".", said.nanos());
  };
  std::string text = target.name();
  if (target.has_grpc()) {
    const pb::GrpcDelivery& grpc = target.grpc();
    absl::StrAppend(&text, " grpc ", duration(grpc.timeout()), " ", grpc.max_calls());
  }
  if (target.has_celery()) {
    const pb::CeleryDelivery& celery = target.celery();
    absl::StrAppend(&text, " celery ", celery.mode(), " ", duration(celery.result_timeout()), " ",
                    celery.redis_priorities(), " ", celery.queue());
  }
  return text;
}

}  // namespace parley::scheduler
