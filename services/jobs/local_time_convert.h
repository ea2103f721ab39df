// Local times between the wire and base: the scheduler's type, which other services take as well.
#pragma once

#include <string>

#include "base/error.h"
#include "base/local_time.h"
#include "parley/scheduler/v1/task.pb.h"

namespace parley::jobs {

scheduler::v1::LocalTime ToProto(const LocalTime& local_time);
scheduler::v1::LocalTimeResolution ToProto(LocalTimeResolution resolution);

// Of a request's field `local_time`. Policies that are no known values are added to `violations`;
// whether it is a time is for ResolveLocalTime to judge.
LocalTime FromProto(const scheduler::v1::LocalTime& local_time, Violations& violations);

// A digest of what was asked for, as it was put.
std::string FingerprintOf(const scheduler::v1::LocalTime& local_time);

}  // namespace parley::jobs
