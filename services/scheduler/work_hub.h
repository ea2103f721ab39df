// The Work streams of a process.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "services/runtime/stream.h"
#include "services/scheduler/work_session.h"

namespace parley::scheduler {

// Keeps the sessions while their streams live. One thread asks the database every second, once for
// all of them, which of their leases have been lost and which of their tasks are to be cancelled;
// the sessions tell their workers. It also ends the attempts of workers that are gone, and tries
// until it is done.
//
// Thread-safe. Must outlive the server.
class WorkHub {
 public:
  // Starts the thread. A stream that is older than `max_age` is told to drain, as if the server
  // went down, so that it moves to a connection, and perhaps a server, that is younger.
  explicit WorkHub(const WorkerParts& parts, absl::Duration max_age = absl::InfiniteDuration());
  ~WorkHub();  // Drain(), then ends the thread

  WorkHub(const WorkHub&) = delete;
  WorkHub& operator=(const WorkHub&) = delete;

  // Serves a worker, or refuses it with UNAVAILABLE, reason DRAINING. Does not block.
  void Welcome(const std::shared_ptr<runtime::DuplexStream>& stream);

  // A task was cancelled that some worker has: compare sooner.
  void Hint();

  // How many workers it serves.
  std::size_t streams();

  // Refuses who comes from now on. Idempotent.
  void RefuseNew();

  // And no more leases for anybody; tells all workers to finish. Idempotent.
  void Drain();

 private:
  using Session = std::shared_ptr<WorkSession>;
  struct Served {
    Session session;
    absl::Time drain_at;
  };

  // Sessions keep it too: what they have under way may be answered when the hub is gone.
  struct State {
    void Forget(WorkSession* over) ABSL_LOCKS_EXCLUDED(mutex);
    void EndLater(const std::vector<AttemptEnd>& ends) ABSL_LOCKS_EXCLUDED(mutex);

    Mutex mutex;
    CondVar wake;
    std::map<WorkSession*, Served> sessions ABSL_GUARDED_BY(mutex);
    std::vector<AttemptEnd> orphans ABSL_GUARDED_BY(mutex);  // whose workers are gone
    bool hinted ABSL_GUARDED_BY(mutex) = false;
    bool draining ABSL_GUARDED_BY(mutex) = false;
    bool stopping ABSL_GUARDED_BY(mutex) = false;
  };

  void Run();
  void EndOrphans();
  bool WaitForNext();  // false: the thread is to end
  void Compare();
  void DrainOld();
  std::vector<Session> Sessions();

  const WorkerParts parts_;
  const absl::Duration max_age_;
  const std::shared_ptr<State> state_ = std::make_shared<State>();
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace parley::scheduler
