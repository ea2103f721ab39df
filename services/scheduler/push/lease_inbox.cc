#include "services/scheduler/push/lease_inbox.h"

#include "absl/time/clock.h"

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
        absl::Now() < state_->ask_again_at) {
      return;
    }
    state_->asked = true;
  }
  LeaseDemand demand = {.queues = {queue_},
                        .max_tasks = max_tasks,
                        .lease_duration = lease_duration_,
                        .holder = LeaseDemand::Holder::kPusher,
                        .give_up = absl::InfiniteFuture()};
  demand.check_alive = [state = state_] {
    MutexLock lock(state->mutex);
    return state->wanted ? absl::OkStatus() : absl::CancelledError();
  };
  demand.done = [state = state_](absl::StatusOr<LeasedTasks> leased) {
    MutexLock lock(state->mutex);
    state->asked = false;
    if (!leased.ok()) {
      if (state->wanted) state->ask_again_at = absl::Now() + kAfterRefusal;
    } else if (leased->tasks.empty()) {
      state->drained = true;
    } else {
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
  while (!state_->leased.has_value() && !state_->woken && absl::Now() < until) {
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
  dispatcher_.Hint(queue_);  // it looks at who has left
  MutexLock lock(state_->mutex);
  while (state_->asked) state_->changed.Wait(state_->mutex);
  return std::exchange(state_->leased, std::nullopt);
}

}  // namespace parley::scheduler
