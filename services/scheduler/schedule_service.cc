#include "services/scheduler/schedule_service.h"

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/fingerprint.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "services/runtime/page_token.h"
#include "services/runtime/wire.h"
#include "services/scheduler/queue_rules.h"
#include "services/scheduler/schedule_rules.h"
#include "services/scheduler/task_convert.h"
#include "services/scheduler/task_rules.h"

namespace parley::scheduler {
namespace {

using google::protobuf::Empty;
using runtime::Call;

absl::Status CheckId(std::int64_t schedule_id) {
  Violations violations;
  CheckScheduleId("schedule_id", schedule_id, violations);
  return violations.ToStatus();
}

}  // namespace

pb::Schedule ScheduleService::Answer(const Schedule& schedule) {
  parts_.ticker.Hint();
  return ToProto(schedule);
}

grpc::ServerUnaryReactor* ScheduleService::CreateSchedule(Context* context, const Bytes* in,
                                                          Bytes* out) {
  return calls_.Unary<pb::CreateScheduleRequest, pb::Schedule>(
      {.name = "CreateSchedule"}, context, in, out,
      [this](const Call& call, const pb::CreateScheduleRequest& request) {
        return Create(call, request);
      });
}

absl::StatusOr<pb::Schedule> ScheduleService::Create(const Call& call,
                                                     const pb::CreateScheduleRequest& request) {
  Violations violations;
  ScheduleSettings settings = SettingsFromProto(request.schedule(), violations);
  PrepareSettings(parts_.default_zone, settings, violations);
  CheckRequestId(request.request_id(), violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const Schedule schedule,
                          parts_.schedules.Create({.settings = std::move(settings),
                                                   .request_id = request.request_id(),
                                                   .fingerprint = FingerprintOf(request)},
                                                  call.deadline()));
  return Answer(schedule);
}

grpc::ServerUnaryReactor* ScheduleService::GetSchedule(Context* context, const Bytes* in,
                                                       Bytes* out) {
  return calls_.Unary<pb::GetScheduleRequest, pb::Schedule>(
      {.name = "GetSchedule"}, context, in, out,
      [this](const Call& call, const pb::GetScheduleRequest& request) {
        return Get(call, request);
      });
}

absl::StatusOr<pb::Schedule> ScheduleService::Get(const Call& call,
                                                  const pb::GetScheduleRequest& request) {
  Violations violations;
  if (request.has_name()) {
    CheckScheduleName("name", request.name(), violations);
  } else {
    CheckScheduleId("schedule_id", request.schedule_id(), violations);
  }
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const Schedule schedule,
                          request.has_name()
                              ? parts_.schedules.GetByName(request.name(), call.deadline())
                              : parts_.schedules.Get(request.schedule_id(), call.deadline()));
  return ToProto(schedule);
}

grpc::ServerUnaryReactor* ScheduleService::ListSchedules(Context* context, const Bytes* in,
                                                         Bytes* out) {
  return calls_.Unary<pb::ListSchedulesRequest, pb::ListSchedulesResponse>(
      {.name = "ListSchedules"}, context, in, out,
      [this](const Call& call, const pb::ListSchedulesRequest& request) {
        return List(call, request);
      });
}

absl::StatusOr<pb::ListSchedulesResponse> ScheduleService::List(
    const Call& call, const pb::ListSchedulesRequest& request) {
  Violations violations;
  CheckQueueFilter(request.queue(), violations);
  const std::string binding = Fingerprint({"ListSchedules", request.queue()});
  const runtime::PageRequest page = runtime::CheckPage(
      {request.limit(), request.offset(), request.page_token()}, binding, {}, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const auto schedules,
                          parts_.schedules.List({.page = {page.limit, page.offset, page.number()},
                                                 .queue = request.queue()},
                                                call.deadline()));
  pb::ListSchedulesResponse response;
  for (const Schedule& schedule : schedules.rows) *response.add_schedules() = ToProto(schedule);
  if (schedules.next) {
    response.set_next_page_token(runtime::EncodePageToken(binding, absl::StrCat(*schedules.next)));
  }
  return response;
}

grpc::ServerUnaryReactor* ScheduleService::UpdateSchedule(Context* context, const Bytes* in,
                                                          Bytes* out) {
  return calls_.Unary<pb::UpdateScheduleRequest, pb::Schedule>(
      {.name = "UpdateSchedule"}, context, in, out,
      [this](const Call& call, const pb::UpdateScheduleRequest& request) {
        return Update(call, request);
      });
}

absl::StatusOr<pb::Schedule> ScheduleService::Update(const Call& call,
                                                     const pb::UpdateScheduleRequest& request) {
  Violations violations;
  CheckScheduleId("schedule.id", request.schedule().id(), violations);
  ScheduleChange change = ToChange(request, violations);
  PrepareChange(parts_.default_zone, change, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(
      const Schedule schedule,
      parts_.schedules.Update({.id = request.schedule().id(),
                               .change = std::move(change),
                               .version = runtime::VersionFromEtag(request.schedule().etag())},
                              call.deadline()));
  return Answer(schedule);
}

grpc::ServerUnaryReactor* ScheduleService::DeleteSchedule(Context* context, const Bytes* in,
                                                          Bytes* out) {
  return calls_.Unary<pb::DeleteScheduleRequest, Empty>(
      {.name = "DeleteSchedule"}, context, in, out,
      [this](const Call& call, const pb::DeleteScheduleRequest& request) -> absl::StatusOr<Empty> {
        PARLEY_RETURN_IF_ERROR(CheckId(request.schedule_id()));
        PARLEY_RETURN_IF_ERROR(parts_.schedules.Delete(request.schedule_id(), call.deadline()));
        return Empty();
      });
}

grpc::ServerUnaryReactor* ScheduleService::PauseSchedule(Context* context, const Bytes* in,
                                                         Bytes* out) {
  return calls_.Unary<pb::PauseScheduleRequest, pb::Schedule>(
      {.name = "PauseSchedule"}, context, in, out,
      [this](const Call& call,
             const pb::PauseScheduleRequest& request) -> absl::StatusOr<pb::Schedule> {
        Violations violations;
        CheckScheduleId("schedule_id", request.schedule_id(), violations);
        CheckPauseNote(request.note(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_ASSIGN_OR_RETURN(
            const Schedule schedule,
            parts_.schedules.Pause(request.schedule_id(), request.note(), call.deadline()));
        return ToProto(schedule);
      });
}

grpc::ServerUnaryReactor* ScheduleService::ResumeSchedule(Context* context, const Bytes* in,
                                                          Bytes* out) {
  return calls_.Unary<pb::ResumeScheduleRequest, pb::Schedule>(
      {.name = "ResumeSchedule"}, context, in, out,
      [this](const Call& call,
             const pb::ResumeScheduleRequest& request) -> absl::StatusOr<pb::Schedule> {
        PARLEY_RETURN_IF_ERROR(CheckId(request.schedule_id()));
        PARLEY_ASSIGN_OR_RETURN(const Schedule schedule,
                                parts_.schedules.Resume(request.schedule_id(), call.deadline()));
        return Answer(schedule);
      });
}

grpc::ServerUnaryReactor* ScheduleService::TriggerSchedule(Context* context, const Bytes* in,
                                                           Bytes* out) {
  return calls_.Unary<pb::TriggerScheduleRequest, pb::Task>(
      {.name = "TriggerSchedule"}, context, in, out,
      [this](const Call& call, const pb::TriggerScheduleRequest& request) {
        return Trigger(call, request);
      });
}

absl::StatusOr<pb::Task> ScheduleService::Trigger(const Call& call,
                                                  const pb::TriggerScheduleRequest& request) {
  Violations violations;
  CheckScheduleId("schedule_id", request.schedule_id(), violations);
  CheckRequestId(request.request_id(), violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(
      const Task task,
      parts_.schedules.Trigger({.id = request.schedule_id(), .request_id = request.request_id()},
                               call.deadline()));
  parts_.dispatcher.TaskReady(task.queue, absl::ZeroDuration());
  return ToProto(task);
}

grpc::ServerUnaryReactor* ScheduleService::BackfillSchedule(Context* context, const Bytes* in,
                                                            Bytes* out) {
  return calls_.Unary<pb::BackfillScheduleRequest, pb::BackfillScheduleResponse>(
      {.name = "BackfillSchedule"}, context, in, out,
      [this](const Call& call, const pb::BackfillScheduleRequest& request) {
        return Backfill(call, request);
      });
}

absl::StatusOr<pb::BackfillScheduleResponse> ScheduleService::Backfill(
    const Call& call, const pb::BackfillScheduleRequest& request) {
  Violations violations;
  CheckScheduleId("schedule_id", request.schedule_id(), violations);
  BackfillRange range = RangeFromProto(request, violations);
  PrepareBackfill(range, violations);
  CheckRequestId(request.request_id(), violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const auto backfilled,
                          parts_.schedules.Backfill({.id = request.schedule_id(),
                                                     .start = *range.start,
                                                     .end = *range.end,
                                                     .limit = range.limit,
                                                     .request_id = request.request_id(),
                                                     .fingerprint = FingerprintOf(request)},
                                                    call.deadline()));
  for (const std::string& queue : backfilled.queues) {
    parts_.dispatcher.TaskReady(queue, absl::ZeroDuration());
  }
  pb::BackfillScheduleResponse response;
  response.set_firing_count(static_cast<std::int32_t>(backfilled.firings));
  return response;
}

grpc::ServerUnaryReactor* ScheduleService::PreviewSchedule(Context* context, const Bytes* in,
                                                           Bytes* out) {
  return calls_.Unary<pb::PreviewScheduleRequest, pb::PreviewScheduleResponse>(
      {.name = "PreviewSchedule"}, context, in, out,
      [this](const Call& call, const pb::PreviewScheduleRequest& request) {
        return Preview(call, request);
      });
}

absl::StatusOr<pb::PreviewScheduleResponse> ScheduleService::Preview(
    const Call& call, const pb::PreviewScheduleRequest& request) {
  Violations violations;
  ScheduleSpec spec;
  if (request.has_spec()) {
    spec = FromProto("spec.", request.spec(), violations);
    PrepareSpec("spec.", parts_.default_zone, spec, violations);
  } else {
    CheckScheduleId("schedule_id", request.schedule_id(), violations);
  }
  std::optional<absl::Time> after;
  if (request.has_after_time()) {
    after = runtime::FromTimestamp("after_time", request.after_time(), violations);
  }
  std::int32_t limit = request.limit();
  PreparePreview(after, limit, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const absl::Time now, parts_.schedules.Now(call.deadline()));
  if (!request.has_spec()) {
    PARLEY_ASSIGN_OR_RETURN(const Schedule schedule,
                            parts_.schedules.Get(request.schedule_id(), call.deadline()));
    spec = schedule.spec;
  }
  SetAnchor(spec, now);
  PARLEY_ASSIGN_OR_RETURN(const Recurrence recurrence, RecurrenceOf(spec));
  absl::TimeZone zone;
  if (!absl::LoadTimeZone(spec.time_zone, &zone)) zone = absl::UTCTimeZone();
  pb::PreviewScheduleResponse response;
  for (const Occurrence& occurrence :
       recurrence.First(after.value_or(now), absl::InfiniteFuture(), limit)) {
    *response.add_fire_times() = ToProto(occurrence, zone);
  }
  return response;
}

}  // namespace parley::scheduler
