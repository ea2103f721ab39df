#include "services/scheduler/work_session.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "services/runtime/request_parser.h"
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

int AnswersIn(const pb::WorkResponse& response) {
  return response.settled_task_ids_size() + response.errors_size() + response.extended_size();
}

bool IsEmpty(const pb::WorkResponse& response) {
  return response.leases().empty() && AnswersIn(response) == 0 &&
         response.lost_task_ids().empty() && response.cancel_task_ids().empty() &&
         !response.drain();
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
    const auto moved = self->parts_.tasks.EndAttempts(ends, SteadyNow() + kPatience);
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
    // What the worker was never sent has not been tried. And if it was told to leave, this server
    // may have broken the stream itself, at the end of its patience: that is no failure of a task.
    std::set<std::int64_t> unsent;
    for (const pb::Lease& lease : out_.leases()) unsent.insert(lease.task().id());
    for (const auto& [id, token] : std::exchange(held_, {})) {
      const bool released = release_ || draining_ || unsent.contains(id);
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
    return self->draining_ || self->IsGone() ? absl::CancelledError() : absl::OkStatus();
  };
  demand.done = [self](absl::StatusOr<LeasedTasks> leased) { self->OnLeased(std::move(leased)); };
  parts_.dispatcher.Lease(std::move(demand));
}

void WorkSession::OnLeased(absl::StatusOr<LeasedTasks> leased) {
  bool unwanted = false;
  {
    MutexLock lock(mutex_);
    asking_ = false;
    unwanted = draining_ || IsGone();
    if (leased.ok() && !unwanted) {
      for (const Task& task : leased->tasks) held_[task.id] = leased->token;
      credit_ -= static_cast<std::int64_t>(leased->tasks.size());
      AddLeases(*leased, *out_.mutable_leases());
    }
  }
  if (leased.ok() && leased->draining) return Drain();
  if (unwanted) {
    if (leased.ok()) GiveBack(*leased);
    return;
  }
  // Too many wait: the hub has everybody ask again.
  if (leased.status().code() == absl::StatusCode::kResourceExhausted) return;
  if (!leased.ok()) return stream_->End(leased.status());
  Flush();
  Ask();  // while the worker reads
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
