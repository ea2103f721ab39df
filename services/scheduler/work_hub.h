// The Work streams of a process.
#pragma once

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
  // Starts the thread.
  explicit WorkHub(const WorkerParts& parts);
  ~WorkHub();  // Drain(), then ends the thread

  WorkHub(const WorkHub&) = delete;
  WorkHub& operator=(const WorkHub&) = delete;

  // Serves a worker. Does not block.
  void Welcome(std::shared_ptr<runtime::DuplexStream> stream);

  // A task was cancelled that some worker has: compare sooner.
  void Hint();

  // No more leases for anybody; tells all workers to finish. Idempotent.
  void Drain();

 private:
  using Session = std::shared_ptr<WorkSession>;

  void Run();
  void EndLater(std::vector<AttemptEnd> ends) ABSL_LOCKS_EXCLUDED(mutex_);
  void EndOrphans() ABSL_LOCKS_EXCLUDED(mutex_);
  bool WaitForNext() ABSL_LOCKS_EXCLUDED(mutex_);  // false: the thread is to end
  void Compare() ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<Session> Sessions() ABSL_LOCKS_EXCLUDED(mutex_);

  const WorkerParts parts_;
  Mutex mutex_;
  CondVar wake_;
  std::map<WorkSession*, Session> sessions_ ABSL_GUARDED_BY(mutex_);
  std::vector<AttemptEnd> orphans_ ABSL_GUARDED_BY(mutex_);  // whose workers are gone
  bool hinted_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace parley::scheduler
