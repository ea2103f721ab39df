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
  for (const std::string& queue : waiter.demand.queues) ++queues_[queue].waiting;
  waiters_.insert(before, std::move(waiter));
}

void WaitingRoom::Leave(std::list<Waiter>::iterator waiter, std::list<Waiter>& out) {
  for (const std::string& name : waiter->demand.queues) {
    const auto queue = queues_.find(name);
    if (--queue->second.waiting == 0) queues_.erase(queue);
  }
  out.splice(out.end(), waiters_, waiter);
}

std::list<WaitingRoom::Waiter> WaitingRoom::TakeEnded(absl::Time now, bool can_serve) {
  std::list<Waiter> ended;
  for (auto next = waiters_.begin(); next != waiters_.end();) {
    const auto waiter = next++;
    const bool gives_up = waiter->demand.give_up <= now && (waiter->tried || !can_serve);
    if (gives_up || !waiter->demand.check_alive().ok()) Leave(waiter, ended);
  }
  return ended;
}

std::list<WaitingRoom::Waiter> WaitingRoom::TakeDue(absl::Time now, std::int32_t max_tasks) {
  std::list<Waiter> taken;
  for (auto next = waiters_.begin(); next != waiters_.end() && max_tasks > 0;) {
    const auto waiter = next++;
    if (DueFor(*waiter) > now) continue;
    const LeaseDemand& demand = waiter->demand;
    if (!taken.empty()) {
      const LeaseDemand& first = taken.front().demand;
      const bool alike =
          demand.queues == first.queues && demand.lease_duration == first.lease_duration;
      if (!alike || demand.max_tasks > max_tasks) continue;
    }
    max_tasks -= demand.max_tasks;
    Leave(waiter, taken);
  }
  return taken;
}

std::list<WaitingRoom::Waiter> WaitingRoom::TakeAll() {
  queues_.clear();
  return std::exchange(waiters_, {});
}

void WaitingRoom::TaskReady(absl::string_view queue, absl::Time due) {
  const auto found = queues_.find(std::string(queue));
  if (found == queues_.end()) return;
  found->second.due = std::min(found->second.due, due);
  ++found->second.changes;
}

void WaitingRoom::Change(absl::string_view queue) {
  const auto found = queues_.find(std::string(queue));
  if (found == queues_.end()) return;
  found->second.ask = true;
  ++found->second.changes;
}

void WaitingRoom::ChangeAll() {
  for (auto& [name, queue] : queues_) {
    queue.ask = true;
    ++queue.changes;
  }
}

void WaitingRoom::Emptied(absl::string_view queue) {
  const auto found = queues_.find(std::string(queue));
  if (found == queues_.end()) return;
  found->second.due = absl::InfiniteFuture();
  found->second.ask = true;
}

std::vector<WaitingRoom::Question> WaitingRoom::Questions() const {
  std::vector<Question> questions;
  for (const auto& [name, queue] : queues_) {
    if (queue.ask) questions.push_back({name, queue.changes});
  }
  return questions;
}

void WaitingRoom::Learn(const Question& question, absl::Time due) {
  const auto found = queues_.find(question.queue);
  if (found == queues_.end()) return;
  Queue& queue = found->second;
  if (queue.changes == question.changes) {
    queue.due = due;
    queue.ask = false;
  } else {
    // What came in between may not be in the answer.
    queue.due = std::min(queue.due, due);
  }
}

absl::Time WaitingRoom::DueFor(const Waiter& waiter) const {
  if (!waiter.tried) return waiter.not_before;
  absl::Time due = absl::InfiniteFuture();
  for (const std::string& queue : waiter.demand.queues) {
    due = std::min(due, queues_.find(queue)->second.due);
  }
  return std::max(due, waiter.not_before);
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
