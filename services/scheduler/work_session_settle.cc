// What a worker tells of its leases, and what it is answered.
#include <set>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "services/runtime/status_mapping.h"
#include "services/runtime/wire.h"
#include "services/scheduler/work_session.h"

namespace parley::scheduler {
namespace {

// Whether the lease is not the worker's any more.
bool IsLost(const absl::Status& status) {
  return status.code() == absl::StatusCode::kNotFound ||
         DetailsOf(status).reason == reason::kLeaseLost;
}

}  // namespace

void WorkSession::Ack(const pb::WorkRequest& request) {
  std::vector<db::TaskAck> acks;
  std::vector<LeaseKey> leases;
  {
    MutexLock lock(mutex_);
    ++unanswered_;
    for (const pb::AckTaskRequest& ack : request.acks()) {
      acks.push_back({ack.task_id(), ack.lease_token(), ack.result()});
      leases.push_back({ack.task_id(), ack.lease_token()});
      Told(leases.back());
    }
  }
  parts_.acker.Ack(
      std::move(acks), SteadyNow() + kPatience,
      [self = shared_from_this(), leases = std::move(leases)](
          const absl::StatusOr<std::vector<bool>>& held) { self->OnAcked(leases, held); });
}

void WorkSession::OnAcked(const std::vector<LeaseKey>& leases,
                          const absl::StatusOr<std::vector<bool>>& held) {
  std::vector<LeaseKey> others;  // lost, or acked before
  {
    MutexLock lock(mutex_);
    for (std::size_t i = 0; i < leases.size(); ++i) {
      if (!held.ok()) {
        NotDone(leases[i], held.status());
      } else if ((*held)[i]) {
        out_.add_settled_task_ids(leases[i].task_id);
      } else {
        others.push_back(leases[i]);
      }
    }
  }
  if (others.empty()) return Answered();
  const auto self = shared_from_this();
  Later(
      [self, others] {
        const absl::Time deadline = SteadyNow() + kPatience;
        for (const LeaseKey& lease : others) {
          const absl::Status status = self->parts_.tasks.GetAckedTask(lease, deadline).status();
          MutexLock lock(self->mutex_);
          if (status.ok()) {
            self->out_.add_settled_task_ids(lease.task_id);
          } else {
            self->NotDone(lease, status);
          }
        }
        self->Answered();
      },
      [&](const absl::Status& status) {
        MutexLock lock(mutex_);
        for (const LeaseKey& lease : others) NotDone(lease, status);
      });
}

void WorkSession::EndAttempts(const pb::WorkRequest& request) {
  std::vector<AttemptEnd> ends;
  for (const pb::FailTaskRequest& fail : request.fails()) {
    ends.push_back(ToAttemptEnd(fail));
  }
  for (const pb::ReleaseTaskRequest& release : request.releases()) {
    ends.push_back(
        {.lease = {release.task_id(), release.lease_token()}, .kind = AttemptEnd::Kind::kReleased});
  }
  {
    MutexLock lock(mutex_);
    ++unanswered_;
    for (const AttemptEnd& end : ends) Told(end.lease);
  }
  Later([self = shared_from_this(), ends] { self->OnAttemptsEnded(ends); },
        [&](const absl::Status& status) {
          MutexLock lock(mutex_);
          for (const AttemptEnd& end : ends) NotDone(end.lease, status);
        });
}

void WorkSession::OnAttemptsEnded(const std::vector<AttemptEnd>& ends) {
  const absl::Time deadline = SteadyNow() + kPatience;
  const auto moved = parts_.tasks.EndAttempts(ends, deadline);
  std::set<std::int64_t> done;
  if (moved.ok()) {
    parts_.dispatcher.TasksMoved(*moved);
    for (const db::TaskRepository::Moved& task : *moved) done.insert(task.id);
    parts_.end_watch.TasksEnded({done.begin(), done.end()});
  }
  for (const AttemptEnd& end : ends) {
    const bool is_done = done.contains(end.lease.task_id);
    absl::Status status = moved.status();
    if (status.ok() && !is_done) status = parts_.tasks.WhyNotHeld(end.lease, deadline);
    MutexLock lock(mutex_);
    if (is_done) {
      out_.add_settled_task_ids(end.lease.task_id);
    } else {
      NotDone(end.lease, status);
    }
  }
  Answered();
}

void WorkSession::Extend(const pb::WorkRequest& request) {
  std::vector<Extension> extensions;
  for (const pb::ExtendLeaseRequest& extend : request.extends()) {
    Violations checked_before;
    extensions.push_back(
        {.lease = {extend.task_id(), extend.lease_token()},
         .duration = DurationFromProto("", extend.lease_duration(), checked_before)});
  }
  {
    MutexLock lock(mutex_);
    ++unanswered_;
  }
  Later([self = shared_from_this(), extensions] { self->OnExtended(extensions); },
        [&](const absl::Status& status) {
          MutexLock lock(mutex_);
          for (const Extension& extension : extensions) NotDone(extension.lease, status);
        });
}

void WorkSession::OnExtended(const std::vector<Extension>& extensions) {
  const absl::Time asked = SteadyNow();
  const absl::Time deadline = asked + kPatience;
  const auto running = parts_.tasks.ExtendLeases(extensions, deadline);
  for (const Extension& extension : extensions) {
    const LeaseKey& lease = extension.lease;
    absl::Status status = running.status();
    bool cancel = false;
    absl::Duration left;
    if (running.ok()) {
      const auto found = running->find(lease.task_id);
      const bool held = found != running->end() && found->second.token == lease.token;
      if (held) {
        cancel = found->second.cancel_requested;
        left = found->second.left;
      }
      if (!held) status = parts_.tasks.WhyNotHeld(lease, deadline);
    }
    MutexLock lock(mutex_);
    if (!status.ok()) {
      NotDone(lease, status);
      continue;
    }
    pb::WorkResponse::Extended& extended = *out_.add_extended();
    extended.set_task_id(lease.task_id);
    *extended.mutable_lease_duration() = runtime::ToDuration(left - (SteadyNow() - asked));
    if (cancel && told_to_cancel_.insert(lease.task_id).second) {
      out_.add_cancel_task_ids(lease.task_id);
    }
  }
  Answered();
}

void WorkSession::Later(std::function<void()> work,
                        const std::function<void(const absl::Status&)>& refuse) {
  if (parts_.executor.Submit(std::move(work))) return;
  refuse(runtime::QueueFullError());
  Answered();
}

void WorkSession::Told(const LeaseKey& lease) {
  const auto held = held_.find(lease.task_id);
  if (held == held_.end() || held->second != lease.token) return;
  held_.erase(held);
  told_to_cancel_.erase(lease.task_id);
}

void WorkSession::NotDone(const LeaseKey& lease, const absl::Status& status) {
  pb::WorkResponse::TaskError& error = *out_.add_errors();
  error.set_task_id(lease.task_id);
  *error.mutable_status() = runtime::ToRpcStatus(status, "Work");
  if (!IsLost(status) && !over_) held_.emplace(lease.task_id, lease.token);
}

}  // namespace parley::scheduler
