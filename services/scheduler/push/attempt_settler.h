// Ends attempts for threads that can wait.
#pragma once

#include <vector>

#include "db/model/task.h"
#include "db/repository/task_acker.h"
#include "services/scheduler/push/pusher.h"

namespace parley::scheduler {

// What a target has done must not be forgotten because the database is away for a moment: the calls
// block until all is written down (true), or until `stop` is given (false: some of it may not be,
// and the leases run out). Leases that are lost are passed over. Thread-safe.
class AttemptSettler {
 public:
  // Both must outlive it.
  AttemptSettler(const PushParts& parts, StopSignal& stop) : parts_(parts), stop_(stop) {}

  // RUNNING -> SUCCEEDED.
  bool Ack(const std::vector<db::TaskAck>& acks);
  // RUNNING -> PENDING, DEAD or CANCELLED. Errors are cut to what is stored.
  bool End(std::vector<AttemptEnd> ends);

 private:
  const PushParts parts_;
  StopSignal& stop_;
};

}  // namespace parley::scheduler
