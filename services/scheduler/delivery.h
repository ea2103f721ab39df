// Takes claimed tasks to those who asked for them.
#pragma once

#include <deque>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "services/scheduler/waiting_room.h"

namespace parley::scheduler {

// A thread of its own, so that the database claims the next tasks while these are written into a
// frame. No more is in its hands than there are demands, each of which asks again only when it was
// answered.
//
// Thread-safe.
class Delivery {
 public:
  Delivery() : thread_([this] { Run(); }) {}
  ~Delivery();  // once everybody is answered

  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;

  // Answers `demand` soon, in the order of the calls. Does not block.
  void Post(LeaseDemand demand, LeasedTasks leased);

 private:
  struct Parcel {
    LeaseDemand demand;
    LeasedTasks leased;
    absl::Time posted;
  };

  void Run();

  Mutex mutex_;
  CondVar wake_;
  std::deque<Parcel> parcels_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace parley::scheduler
