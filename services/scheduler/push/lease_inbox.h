// Where a pusher's thread waits for leases.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "services/scheduler/dispatcher.h"

namespace parley::scheduler {

// Keeps at most one demand with the dispatcher. Wake may be called by any thread, the rest by the
// one thread that waits.
class LeaseInbox {
 public:
  // What leases are wanted.
  struct Terms {
    std::string queue;
    absl::Duration lease_duration;
    std::string token_prefix;  // of their tokens (push_token.h)
  };
  // `dispatcher` must outlive the inbox.
  LeaseInbox(Dispatcher& dispatcher, Terms terms)
      : dispatcher_(dispatcher), terms_(std::move(terms)) {}

  // Wants up to `max_tasks`, unless it wants some already. Once the dispatcher drains, nothing
  // comes any more.
  void Ask(std::int32_t max_tasks);
  // Wants none any more. Some may come all the same, that were claimed before.
  void Unask();

  // Leases, as soon as there are some; nullopt at `until` or after Wake.
  std::optional<LeasedTasks> Wait(absl::Time until);
  void Wake();

  // Wants none any more, and waits, for about a second at most, until none can come: call it before
  // the end. Returns what had come.
  std::optional<LeasedTasks> Close();

 private:
  // Shared with the demand, which may outlive an inbox that was not closed.
  struct State {
    Mutex mutex;
    CondVar changed;
    bool wanted ABSL_GUARDED_BY(mutex) = false;
    bool asked ABSL_GUARDED_BY(mutex) = false;
    bool drained ABSL_GUARDED_BY(mutex) = false;
    bool woken ABSL_GUARDED_BY(mutex) = false;
    absl::Time ask_again_at ABSL_GUARDED_BY(mutex) = absl::InfinitePast();
    std::optional<LeasedTasks> leased ABSL_GUARDED_BY(mutex);
  };

  Dispatcher& dispatcher_;
  const Terms terms_;
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace parley::scheduler
