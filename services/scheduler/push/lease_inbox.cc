#include "services/scheduler/push/lease_inbox.h"

#include "base/clock.h"

namespace parley::scheduler {
namespace {

// After a demand that the dispatcher did not take.
constexpr absl::Duration kAfterRefusal = absl::Seconds(1);

}  // namespace

void LeaseInbox::Ask(std::int32_t max_tasks) {
  {
    MutexLock lock(state_->mutex);
    state_->wanted = true;
    if (state_->asked || state_->drained || state_->leased.has_value() ||
        SteadyNow() < state_->ask_again_at) {
      return;
    }
    state_->asked = true;
  }
  LeaseDemand demand = {.queues = {terms_.queue},
                        .max_tasks = max_tasks,
                        .lease_duration = terms_.lease_duration,
                        .token_prefix = terms_.token_prefix,
                        .give_up = absl::InfiniteFuture()};
  demand.check_alive = [state = state_] {
    MutexLock lock(state->mutex);
    return state->wanted ? absl::OkStatus() : absl::CancelledError();
  };
  demand.done = [state = state_](absl::StatusOr<LeasedTasks> leased) {
    MutexLock lock(state->mutex);
    state->asked = false;
    if (absl::IsCancelled(leased.status())) {
      // Some were not wanted. If they are by now, they have to be asked for again.
      if (state->wanted) state->woken = true;
    } else if (!leased.ok()) {
      state->ask_again_at = SteadyNow() + kAfterRefusal;
    } else if (leased->draining) {
      state->drained = true;
    } else if (!leased->tasks.empty()) {
      state->leased = *std::move(leased);
    }
    state->changed.NotifyAll();
  };
  dispatcher_.Lease(std::move(demand));
}

void LeaseInbox::Unask() {
  MutexLock lock(state_->mutex);
  state_->wanted = false;
}

std::optional<LeasedTasks> LeaseInbox::Wait(absl::Time until) {
  MutexLock lock(state_->mutex);
  while (!state_->leased.has_value() && !state_->woken && SteadyNow() < until) {
    state_->changed.WaitUntil(state_->mutex, until);
  }
  state_->woken = false;
  return std::exchange(state_->leased, std::nullopt);
}

void LeaseInbox::Wake() {
  MutexLock lock(state_->mutex);
  state_->woken = true;
  state_->changed.NotifyAll();
}

std::optional<LeasedTasks> LeaseInbox::Close() {
  Unask();
  dispatcher_.Hint(terms_.queue);  // it looks at who has left
  MutexLock lock(state_->mutex);
  while (state_->asked) state_->changed.Wait(state_->mutex);
  return std::exchange(state_->leased, std::nullopt);
}

}  // namespace parley::scheduler
