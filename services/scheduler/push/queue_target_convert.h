// Between the wire message of a queue's target and its model. Total functions, any thread may call
// them.
#pragma once

#include <string>

#include "base/error.h"
#include "db/model/queue_target.h"
#include "parley/scheduler/v1/queue_target.pb.h"

namespace parley::scheduler {

namespace pb = ::parley::scheduler::v1;

pb::QueueTarget ToProto(const QueueTarget& target);

// What is not said gets its default. What cannot be said in the model is added to `violations`, by
// paths below `target`; the rest is for the rules to judge.
QueueTarget FromProto(const pb::QueueTarget& target, Violations& violations);

// As it was put, for fingerprints. Empty: nothing was.
std::string ToText(const pb::QueueTarget& target);

}  // namespace parley::scheduler
