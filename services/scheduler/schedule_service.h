// The calls for schedules.
#pragma once

#include <google/protobuf/empty.pb.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>
#include <utility>

#include "db/repository/schedule_repository.h"
#include "parley/scheduler/v1/schedule_service.grpc.pb.h"
#include "services/runtime/call.h"
#include "services/scheduler/schedule_convert.h"
#include "services/scheduler/ticker.h"

namespace parley::scheduler {

// parley.scheduler.v1.ScheduleService; what the calls do is written in the proto. Thread-safe.
class ScheduleService final
    : public runtime::RawMethods<pb::ScheduleService::Service,
                                 pb::ScheduleService::WithRawCallbackMethod_CreateSchedule,
                                 pb::ScheduleService::WithRawCallbackMethod_GetSchedule,
                                 pb::ScheduleService::WithRawCallbackMethod_ListSchedules,
                                 pb::ScheduleService::WithRawCallbackMethod_UpdateSchedule,
                                 pb::ScheduleService::WithRawCallbackMethod_DeleteSchedule,
                                 pb::ScheduleService::WithRawCallbackMethod_PauseSchedule,
                                 pb::ScheduleService::WithRawCallbackMethod_ResumeSchedule,
                                 pb::ScheduleService::WithRawCallbackMethod_TriggerSchedule,
                                 pb::ScheduleService::WithRawCallbackMethod_BackfillSchedule,
                                 pb::ScheduleService::WithRawCallbackMethod_PreviewSchedule>::type {
 public:
  // All must outlive the service.
  struct Parts {
    db::ScheduleRepository& schedules;
    Ticker& ticker;
    Dispatcher& dispatcher;
    std::string default_zone;  // a known IANA zone, for specs that name none
  };
  ScheduleService(runtime::CallPipeline& calls, Parts parts)
      : calls_(calls), parts_(std::move(parts)) {}

  using Reactor = grpc::ServerUnaryReactor;
  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  Reactor* CreateSchedule(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* GetSchedule(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* ListSchedules(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* UpdateSchedule(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* DeleteSchedule(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* PauseSchedule(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* ResumeSchedule(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* TriggerSchedule(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* BackfillSchedule(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* PreviewSchedule(Context* context, const Bytes* in, Bytes* out) override;

 private:
  absl::StatusOr<pb::Schedule> Create(const runtime::Call& call,
                                      const pb::CreateScheduleRequest& request);
  absl::StatusOr<pb::Schedule> Get(const runtime::Call& call,
                                   const pb::GetScheduleRequest& request);
  absl::StatusOr<pb::ListSchedulesResponse> List(const runtime::Call& call,
                                                 const pb::ListSchedulesRequest& request);
  absl::StatusOr<pb::Schedule> Update(const runtime::Call& call,
                                      const pb::UpdateScheduleRequest& request);
  absl::StatusOr<pb::Task> Trigger(const runtime::Call& call,
                                   const pb::TriggerScheduleRequest& request);
  absl::StatusOr<pb::BackfillScheduleResponse> Backfill(const runtime::Call& call,
                                                        const pb::BackfillScheduleRequest& request);
  absl::StatusOr<pb::PreviewScheduleResponse> Preview(const runtime::Call& call,
                                                      const pb::PreviewScheduleRequest& request);
  // Of a schedule that has changed: it may fire sooner than the ticker thinks.
  pb::Schedule Answer(const Schedule& schedule);

  runtime::CallPipeline& calls_;
  const Parts parts_;
};

}  // namespace parley::scheduler
