// The pushers of a process.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "db/model/queue_target.h"
#include "db/repository/push_repository.h"
#include "services/scheduler/push/celery_parts.h"
#include "services/scheduler/push/handoff_keeper.h"
#include "services/scheduler/push/push_targets.h"
#include "services/scheduler/push/pusher.h"

namespace parley::scheduler {

// Keeps a pusher for every queue that has a target, as far as this server is configured with the
// target. One thread reads every second which those are, and sooner after a hint. Queues that this
// server cannot push are left to others; it says so once.
//
// A pusher ends with the target that it was made for; a keeper ends when nothing is left that was
// handed over to its place. So what is under way when a queue gets another target comes to its end
// by the rules under which it was begun. A hub that starts finds such places by the tokens of the
// leases, as far as targets of its configuration are there. The end of a keeper that is with its
// broker at this moment may take seconds, in which no change of a target is noticed.
//
// Thread-safe.
class PushHub {
 public:
  // Starts the thread. `parts` must outlive the hub. At the end, what is under way gets `grace` to
  // finish.
  PushHub(const PushParts& parts, PushTargets targets, absl::Duration grace);
  ~PushHub();

  PushHub(const PushHub&) = delete;
  PushHub& operator=(const PushHub&) = delete;

  // A queue's target may have changed.
  void Hint() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Served {
    QueueTarget target;
    std::unique_ptr<Pusher> pusher;
  };

  void Run();
  bool WaitForNext() ABSL_LOCKS_EXCLUDED(mutex_);  // false: the thread is to end
  void Compare();
  // Null if this server cannot, which is logged once.
  std::unique_ptr<Pusher> MakePusher(const db::PushQueue& queue);
  std::unique_ptr<Pusher> MakeCeleryPusher(CeleryQueue queue);
  // Makes keepers for what is with targets that queues had before this hub started.
  void Adopt();
  void DropIdleKeepers();

  const PushParts parts_;
  const PushTargets targets_;
  const absl::Duration grace_;
  // The thread's own.
  std::map<db::HandoffPlace, std::shared_ptr<HandoffKeeper>> keepers_;
  bool adopted_ = false;
  std::map<std::string, Served> served_;          // by queue
  std::vector<std::unique_ptr<Pusher>> retired_;  // until they have finished
  std::map<std::string, QueueTarget> refused_;    // by queue; logged
  Mutex mutex_;
  CondVar wake_;
  bool hinted_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace parley::scheduler
