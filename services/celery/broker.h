// What hands messages to Celery's workers.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "services/celery/celery_message.h"

namespace parley::celery {

// A message that is to be handed over, once.
struct Handoff {
  CeleryMessage message;
  // Names the hand-off for ever: with a HandoffLedger, nothing is handed over twice under a key.
  std::string key;
};

// What became of it.
struct HandoffOutcome {
  enum class Kind {
    kAccepted,   // the broker has it, now or since an earlier call
    kNotTaken,   // the broker has not got it, and may take it later
    kInDoubt,    // the broker's answer was lost
    kWithdrawn,  // not handed over: its key was withdrawn (HandoffLedger)
  };
  Kind kind = Kind::kNotTaken;
  std::string error;  // of kNotTaken and kInDoubt; no address, no secret
};

// Connects when it is first used, and again after the connection was lost. Belongs to one thread at
// a time; calls block for some seconds at most.
class Broker {
 public:
  virtual ~Broker() = default;

  // OK: the broker answers, and `queue` could be handed messages. UNAVAILABLE: it does not answer,
  // or it knows no such queue.
  virtual absl::Status Check(const std::string& queue) = 0;

  // All to one queue. An outcome for each, in their order.
  virtual std::vector<HandoffOutcome> Push(const std::vector<Handoff>& handoffs) = 0;

  // Asks all workers not to begin the task, if they can hear it. Best effort.
  virtual absl::Status Revoke(const std::string& id) = 0;
};

}  // namespace parley::celery
