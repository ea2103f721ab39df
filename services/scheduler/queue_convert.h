// Between the wire messages of queues and their model. Total functions, any thread may call them.
#pragma once

#include <set>
#include <string>

#include "base/error.h"
#include "db/model/queue.h"
#include "parley/scheduler/v1/queue.pb.h"
#include "parley/scheduler/v1/queue_service.pb.h"

namespace parley::scheduler {

namespace pb = ::parley::scheduler::v1;

pb::Queue ToProto(const Queue& queue);
pb::QueueStats ToProto(const std::string& queue, const QueueStats& stats);

// All settings of a queue, as the field `queue` of a request. A duration that is out of its type's
// range is added to `violations`; the rest is for the rules to judge.
QueueSettings SettingsFromProto(const pb::Queue& queue, Violations& violations);

// What an UpdateQueue is to change: fields of pb::Queue, and what they are to be.
struct QueueUpdate {
  std::set<std::string> fields;
  QueueSettings settings;  // the default in other fields
};
// Reads the mask and the fields it names.
QueueUpdate FromProto(const pb::UpdateQueueRequest& request, Violations& violations);
QueueChange ChangeOf(const QueueUpdate& update);

// Which tasks of the queue are to go.
TaskState PurgedStateFromProto(const pb::PurgeQueueRequest& request, Violations& violations);

// A digest of what the caller asked for, as it was put.
std::string FingerprintOf(const pb::CreateQueueRequest& request);

}  // namespace parley::scheduler
