#include "services/scheduler/waiting_room.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace parley::scheduler {

void WaitingRoom::Enter(LeaseDemand demand) {
  Seat(waiters_.end(), Waiter{.arrival = arrivals_++, .demand = std::move(demand)});
}

void WaitingRoom::Return(Waiter waiter) {
  const auto later = std::find_if(waiters_.begin(), waiters_.end(), [&](const Waiter& other) {
    return other.arrival > waiter.arrival;
  });
  Seat(later, std::move(waiter));
}

void WaitingRoom::Seat(std::list<Waiter>::iterator before, Waiter waiter) {
  for (const std::string& name : waiter.demand.queues) {
    Queue& queue = queues_[name];
    ++queue.waiting;
    queue.wanted = true;
  }
  waiters_.insert(before, std::move(waiter));
}

void WaitingRoom::Leave(std::list<Waiter>::iterator waiter, std::list<Waiter>& out) {
  for (const std::string& queue : waiter->demand.queues) --queues_.find(queue)->second.waiting;
  out.splice(out.end(), waiters_, waiter);
}

std::list<WaitingRoom::Waiter> WaitingRoom::TakeEnded(absl::Time now, bool can_serve) {
  std::list<Waiter> ended;
  for (auto next = waiters_.begin(); next != waiters_.end();) {
    const auto waiter = next++;
    const bool gives_up = waiter->demand.give_up <= now && (waiter->tried || !can_serve);
    waiter->left = waiter->demand.check_alive();
    if (gives_up || !waiter->left.ok()) Leave(waiter, ended);
  }
  return ended;
}

void WaitingRoom::NameQueues(const Waiter& waiter, absl::Time now, Turn& turn) const {
  turn.unlimited.clear();
  turn.limited.clear();
  bool unlimited_due = false;
  for (const std::string& name : waiter.demand.queues) {
    const Queue& queue = queues_.find(name)->second;
    const bool due = !waiter.tried || queue.ClaimAt() <= now;
    if (!queue.limited.value_or(false)) {
      turn.unlimited.push_back(name);
      unlimited_due = unlimited_due || due;
    } else if (due) {
      turn.limited.push_back(name);
    }
  }
  if (!unlimited_due) turn.unlimited.clear();
}

WaitingRoom::Turn WaitingRoom::TakeDue(absl::Time now, std::int32_t max_tasks) {
  Turn turn;
  std::list<Waiter>& taken = turn.waiters;
  for (auto next = waiters_.begin(); next != waiters_.end() && max_tasks > 0;) {
    const auto waiter = next++;
    if (DueFor(*waiter) > now) continue;
    const LeaseDemand& demand = waiter->demand;
    if (!taken.empty()) {
      const LeaseDemand& first = taken.front().demand;
      const bool alike = demand.queues == first.queues &&
                         demand.lease_duration == first.lease_duration &&
                         demand.token_prefix == first.token_prefix;
      if (!alike || demand.max_tasks > max_tasks) continue;
    }
    max_tasks -= demand.max_tasks;
    // Whoever was not tried yet wants all queues looked into.
    if (taken.empty() || !waiter->tried) NameQueues(*waiter, now, turn);
    Leave(waiter, taken);
  }
  return turn;
}

std::list<WaitingRoom::Waiter> WaitingRoom::TakeAll() {
  queues_.clear();
  return std::exchange(waiters_, {});
}

void WaitingRoom::TaskReady(absl::string_view queue, absl::Time due) {
  const auto found = queues_.find(queue);
  if (found == queues_.end()) return;
  found->second.due = std::min(found->second.due, due);
  ++found->second.changes;
}

void WaitingRoom::Change(absl::string_view queue) {
  const auto found = queues_.find(queue);
  if (found == queues_.end()) return;
  found->second.ask = true;
  ++found->second.changes;
  ++found->second.doubts;
}

void WaitingRoom::ChangeAll() {
  std::erase_if(
      queues_, [](const auto& entry) { return entry.second.waiting == 0 && !entry.second.wanted; });
  for (auto& [name, queue] : queues_) {
    queue.wanted = queue.waiting > 0;
    queue.ask = true;
    ++queue.changes;
    ++queue.doubts;
  }
}

void WaitingRoom::Emptied(absl::string_view queue) {
  const auto found = queues_.find(queue);
  if (found == queues_.end()) return;
  found->second.due = absl::InfiniteFuture();
  found->second.ask = true;
}

std::vector<WaitingRoom::Question> WaitingRoom::Questions() const {
  std::vector<Question> questions;
  for (const auto& [name, queue] : queues_) {
    const bool ask = queue.waiting > 0 ? queue.ask : queue.wanted && queue.settled < queue.doubts;
    if (ask) questions.push_back({name, queue.changes, queue.doubts});
  }
  return questions;
}

void WaitingRoom::Learn(const Question& question, const Answer& answer) {
  const auto found = queues_.find(question.queue);
  if (found == queues_.end()) return;
  Queue& queue = found->second;
  queue.limited = answer.limited;
  queue.open = answer.open;
  queue.settled = question.doubts;
  if (queue.changes == question.changes) {
    queue.due = answer.due;
    queue.ask = false;
  } else {
    // What came in between may not be in the answer.
    queue.due = std::min(queue.due, answer.due);
  }
}

absl::Time WaitingRoom::DueFor(const Waiter& waiter) const {
  absl::Time due = waiter.tried ? absl::InfiniteFuture() : absl::InfinitePast();
  for (const std::string& name : waiter.demand.queues) {
    const Queue& queue = queues_.find(name)->second;
    if (waiter.tried) {
      due = std::min(due, queue.ClaimAt());
    } else if (!queue.limited) {
      due = absl::InfiniteFuture();
    }
  }
  return std::max(due, waiter.not_before);
}

bool WaitingRoom::IsLimited(absl::string_view queue) const {
  const auto found = queues_.find(queue);
  return found != queues_.end() && found->second.limited.value_or(false);
}

absl::Time WaitingRoom::NextGiveUp() const {
  absl::Time next = absl::InfiniteFuture();
  for (const Waiter& waiter : waiters_) next = std::min(next, waiter.demand.give_up);
  return next;
}

absl::Time WaitingRoom::NextDue() const {
  absl::Time next = absl::InfiniteFuture();
  for (const Waiter& waiter : waiters_) next = std::min(next, DueFor(waiter));
  return next;
}

}  // namespace parley::scheduler
