// Schedules between the wire and the model. Total functions, any thread may call them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/cron.h"
#include "base/error.h"
#include "db/model/schedule.h"
#include "parley/scheduler/v1/schedule.pb.h"
#include "parley/scheduler/v1/schedule_service.pb.h"
#include "services/scheduler/schedule_rules.h"

namespace parley::scheduler {

namespace pb = ::parley::scheduler::v1;

pb::Schedule ToProto(const Schedule& schedule);
// `zone`: the one of the schedule.
pb::FireTime ToProto(const Occurrence& occurrence, const absl::TimeZone& zone);

// What cannot be said in the model (an unknown enum value, a timestamp out of range, no rule) is
// added to `violations`; the rest is for the rules to judge.
ScheduleSettings SettingsFromProto(const pb::Schedule& schedule, Violations& violations);
// `prefix` is what comes before the fields of the spec.
ScheduleSpec FromProto(absl::string_view prefix, const pb::ScheduleSpec& spec,
                       Violations& violations);
// Reads the mask and the fields it names.
ScheduleChange ToChange(const pb::UpdateScheduleRequest& request, Violations& violations);
BackfillRange RangeFromProto(const pb::BackfillScheduleRequest& request, Violations& violations);

// Digests of what the caller asked for, as it was put.
std::string FingerprintOf(const pb::CreateScheduleRequest& request);
std::string FingerprintOf(const pb::BackfillScheduleRequest& request);

}  // namespace parley::scheduler
