#include "services/scheduler/work_session.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "services/runtime/request_parser.h"
#include "services/runtime/status_mapping.h"
#include "services/runtime/wire.h"
#include "services/scheduler/task_rules.h"

namespace parley::scheduler {
namespace {

constexpr std::int64_t kMaxCredit = 10'000;
// The dispatcher claims no more at a time.
constexpr std::int64_t kMaxLeases = 500;
// Answers that may be under way before the worker is read on.
constexpr int kMaxUnanswered = 8;
// And answers that wait until the worker reads.
constexpr int kMaxUnread = 1000;
constexpr std::size_t kMaxFrame = (std::size_t{3} << 20) + (std::size_t{1} << 19);
// Of a frame that was sent, so much memory is kept for the next.
constexpr std::size_t kMaxKept = std::size_t{128} << 10;
// For what a stream has been told; it has no deadline of its own.
constexpr absl::Duration kPatience = absl::Seconds(10);

int AnswersIn(const pb::WorkResponse& response) {
  return response.settled_task_ids_size() + response.errors_size() + response.extended_size();
}

bool IsEmpty(const pb::WorkResponse& response) {
  return response.leases().empty() && AnswersIn(response) == 0 &&
         response.lost_task_ids().empty() && response.cancel_task_ids().empty() &&
         !response.drain();
}

// Whether the lease is not the worker's any more.
bool IsLost(const absl::Status& status) {
  return status.code() == absl::StatusCode::kNotFound ||
         DetailsOf(status).reason == reason::kLeaseLost;
}

}  // namespace

WorkSession::WorkSession(std::shared_ptr<runtime::DuplexStream> stream, const WorkerParts& parts,
                         Hub hub)
    : stream_(std::move(stream)), parts_(parts), hub_(std::move(hub)) {}

void WorkSession::Begin() {
  const auto self = shared_from_this();
  stream_->Attach({.on_room =
                       [self] {
                         {
                           MutexLock lock(self->mutex_);
                           self->sending_ = false;
                         }
                         self->Flush();
                         self->Ask();
                         self->ReadOn();
                       },
                   .on_over = [self] { self->OnOver(); }});
  ReadOn();
}

void WorkSession::ReadOn() {
  {
    MutexLock lock(mutex_);
    const bool crowded = unanswered_ >= kMaxUnanswered || AnswersIn(out_) >= kMaxUnread;
    if (reading_ || crowded || IsGone()) return;
    reading_ = true;
  }
  stream_->ReadNext(
      [self = shared_from_this()](const grpc::ByteBuffer* frame) { self->OnFrame(frame); });
}

void WorkSession::OnFrame(const grpc::ByteBuffer* frame) {
  if (frame == nullptr) return OnLeave(/*release=*/false);
  google::protobuf::Arena arena;
  pb::WorkRequest& request = *google::protobuf::Arena::CreateMessage<pb::WorkRequest>(&arena);
  if (absl::Status status = Accept(*frame, request); !status.ok()) return stream_->End(status);
  if (!request.acks().empty()) Ack(request);
  if (!request.fails().empty() || !request.releases().empty()) EndAttempts(request);
  if (!request.extends().empty()) Extend(request);
  if (request.goodbye()) return OnLeave(/*release=*/true);
  Ask();
  {
    MutexLock lock(mutex_);
    reading_ = false;
  }
  ReadOn();
}

absl::Status WorkSession::Accept(const grpc::ByteBuffer& frame, pb::WorkRequest& request) {
  PARLEY_RETURN_IF_ERROR(runtime::ParseRequest(frame, request));
  Violations violations;
  MutexLock lock(mutex_);
  if (request.has_hello() == greeted_) {
    violations.Add("hello",
                   greeted_ ? "must be in the first frame only" : "must be in the first frame");
  }
  WorkDemand demand;
  if (request.has_hello()) demand = FromProto(request.hello(), violations);
  CheckWorkRequest(request, violations);
  if (request.credit() < 0) violations.Add("credit", "must not be negative");
  if (credit_ + request.credit() > kMaxCredit) {
    violations.Add("credit", absl::StrCat("must not add up to more than ", kMaxCredit));
  }
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  credit_ += request.credit();
  if (!greeted_) {
    greeted_ = true;
    queues_ = std::move(demand.queues);
    lease_duration_ = demand.lease_duration;
  }
  return absl::OkStatus();
}

void WorkSession::OnLeave(bool release) {
  {
    MutexLock lock(mutex_);
    leaving_ = true;
    release_ = release;
    if (unanswered_ > 0) return;  // Answered comes back to this
  }
  Leave();
}

void WorkSession::Leave() {
  std::vector<AttemptEnd> ends;
  {
    MutexLock lock(mutex_);
    if (over_) return;
    if (release_) {
      out_.clear_leases();
      for (const auto& [id, token] : std::exchange(held_, {})) {
        ends.push_back({.lease = {id, token}, .kind = AttemptEnd::Kind::kReleased});
      }
    }
  }
  const auto close = [self = shared_from_this()] {
    {
      MutexLock lock(self->mutex_);
      self->closing_ = true;
    }
    self->Flush();
  };
  if (ends.empty()) return close();
  const bool queued = parts_.executor.Submit([self = shared_from_this(), ends, close] {
    const auto moved = self->parts_.tasks.EndAttempts(ends, absl::Now() + kPatience);
    if (moved.ok()) {
      self->parts_.dispatcher.TasksMoved(*moved);
    } else {
      self->hub_.end_later(ends);
    }
    close();
  });
  if (queued) return;
  hub_.end_later(ends);
  close();
}

void WorkSession::OnOver() {
  std::vector<AttemptEnd> ends;
  {
    MutexLock lock(mutex_);
    over_ = true;
    // What the worker was never sent has not been tried.
    std::set<std::int64_t> unsent;
    for (const pb::Lease& lease : out_.leases()) unsent.insert(lease.task().id());
    for (const auto& [id, token] : std::exchange(held_, {})) {
      const bool released = release_ || unsent.contains(id);
      ends.push_back({.lease = {id, token},
                      .kind = released ? AttemptEnd::Kind::kReleased : AttemptEnd::Kind::kAbandoned,
                      .error = released ? "" : "the worker's stream broke"});
    }
  }
  if (!ends.empty()) hub_.end_later(ends);
  hub_.on_over(this);
}

void WorkSession::Ask() {
  LeaseDemand demand;
  {
    MutexLock lock(mutex_);
    const bool wants = greeted_ && credit_ > 0 && out_.leases().empty();
    if (!wants || asking_ || draining_ || IsGone()) return;
    asking_ = true;
    demand.queues = queues_;
    demand.max_tasks = static_cast<std::int32_t>(std::min(credit_, kMaxLeases));
    demand.lease_duration = lease_duration_;
  }
  const auto self = shared_from_this();
  demand.give_up = absl::InfiniteFuture();
  demand.check_alive = [self] {
    MutexLock lock(self->mutex_);
    return self->IsGone() ? absl::CancelledError() : absl::OkStatus();
  };
  demand.done = [self](absl::StatusOr<LeasedTasks> leased) { self->OnLeased(std::move(leased)); };
  parts_.dispatcher.Lease(std::move(demand));
}

void WorkSession::OnLeased(absl::StatusOr<LeasedTasks> leased) {
  bool gone = false;
  {
    MutexLock lock(mutex_);
    asking_ = false;
    gone = IsGone();
    if (leased.ok() && !gone) {
      for (const Task& task : leased->tasks) held_[task.id] = leased->token;
      credit_ -= static_cast<std::int64_t>(leased->tasks.size());
      AddLeases(*leased, *out_.mutable_leases());
    }
  }
  if (leased.ok() && leased->tasks.empty()) return Drain();  // the dispatcher drains
  if (gone) {
    if (leased.ok()) GiveBack(*leased);
    return;
  }
  // Too many wait: the hub has everybody ask again.
  if (leased.status().code() == absl::StatusCode::kResourceExhausted) return;
  if (!leased.ok()) return stream_->End(leased.status());
  Flush();
}

void WorkSession::GiveBack(const LeasedTasks& leased) {
  std::vector<AttemptEnd> ends;
  for (const Task& task : leased.tasks) {
    ends.push_back({.lease = {task.id, leased.token}, .kind = AttemptEnd::Kind::kReleased});
  }
  hub_.end_later(ends);
}

void WorkSession::Drain() {
  {
    MutexLock lock(mutex_);
    if (std::exchange(draining_, true)) return;
    out_.set_drain(true);
  }
  Flush();
}

WorkSession::Tokens WorkSession::Held() {
  MutexLock lock(mutex_);
  return held_;
}

void WorkSession::Compare(const Tokens& asked,
                          const std::map<std::int64_t, db::TaskRepository::RunningTask>& running) {
  {
    MutexLock lock(mutex_);
    for (const auto& [id, token] : asked) {
      // What was settled meanwhile is not the worker's any more by its own will.
      const auto held = held_.find(id);
      if (held == held_.end() || held->second != token) continue;
      const auto found = running.find(id);
      if (found == running.end() || found->second.token != token) {
        held_.erase(held);
        out_.add_lost_task_ids(id);
      } else if (found->second.cancel_requested && told_to_cancel_.insert(id).second) {
        out_.add_cancel_task_ids(id);
      }
    }
  }
  Flush();
}

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
      std::move(acks), absl::Now() + kPatience,
      [self = shared_from_this(), leases = std::move(leases)](
          const absl::StatusOr<std::vector<bool>>& held) { self->OnAcked(leases, held); });
}

void WorkSession::OnAcked(const std::vector<LeaseKey>& leases,
                          const absl::StatusOr<std::vector<bool>>& held) {
  std::vector<LeaseKey> others;  // lost, or acked before
  std::vector<std::int64_t> ended;
  {
    MutexLock lock(mutex_);
    for (std::size_t i = 0; i < leases.size(); ++i) {
      if (!held.ok()) {
        NotDone(leases[i], held.status());
      } else if ((*held)[i]) {
        out_.add_settled_task_ids(leases[i].task_id);
        ended.push_back(leases[i].task_id);
      } else {
        others.push_back(leases[i]);
      }
    }
  }
  parts_.end_watch.TasksEnded(ended);
  if (others.empty()) return Answered();
  const auto self = shared_from_this();
  Later(
      [self, others] {
        const absl::Time deadline = absl::Now() + kPatience;
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
  const absl::Time deadline = absl::Now() + kPatience;
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
  const absl::Time asked = absl::Now();
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
    *extended.mutable_lease_duration() = runtime::ToDuration(left - (absl::Now() - asked));
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

void WorkSession::Answered() {
  bool leave = false;
  {
    MutexLock lock(mutex_);
    --unanswered_;
    leave = leaving_ && unanswered_ == 0;
  }
  Flush();
  if (leave) return Leave();
  ReadOn();
}

void WorkSession::Flush() {
  std::string frame;
  {
    MutexLock lock(mutex_);
    if (sending_ || over_) return;
    if (!IsEmpty(out_)) {
      sending_ = true;
      // Callers refuse frames above 4 MiB: leases that do not fit go with the next.
      pb::WorkResponse later;
      if (AnswersIn(out_) > 0 && out_.ByteSizeLong() > kMaxFrame) {
        later.mutable_leases()->Swap(out_.mutable_leases());
      }
      frame = out_.SerializeAsString();
      // What is cleared keeps its memory for the next frame.
      if (later.leases().empty() && frame.size() < kMaxKept) {
        out_.Clear();
      } else {
        out_ = std::move(later);
      }
    } else if (!closing_) {
      return;
    }
  }
  if (frame.empty()) return stream_->End(absl::OkStatus());
  // If it is not taken, the stream is ending.
  stream_->TrySend(std::move(frame));
}

}  // namespace parley::scheduler
