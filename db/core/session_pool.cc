#include "db/core/session_pool.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/status_macros.h"

namespace parley::db {
namespace {

// How long after its deadline a statement may still be under way before its connection is broken.
constexpr absl::Duration kGrace = absl::Seconds(1);

}  // namespace

// A caller in the queue. Lives on its stack; guarded by the pool's mutex.
struct SessionPool::Waiter {
  CondVar granted_changed;
  bool granted = false;
};

SessionPool::Lease::~Lease() {
  if (session_ != nullptr) pool_->GiveBack(std::move(session_), expires_);
}

SessionPool::SessionPool(Dsn dsn, PoolOptions options)
    : dsn_(std::move(dsn)),
      options_(options),
      slots_(options.size),
      watchdog_([this] { BreakOverdue(); }) {}

SessionPool::~SessionPool() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    overdue_changed_.NotifyAll();
  }
  watchdog_.join();
}

absl::StatusOr<SessionPool::Lease> SessionPool::Acquire(absl::Time deadline) {
  PARLEY_RETURN_IF_ERROR(WaitForSlot(deadline));
  absl::StatusOr<Lease> lease = TakeOrConnect();
  if (!lease.ok()) {
    MutexLock lock(mutex_);
    FreeSlot();
    return lease.status();
  }
  // First, because setting the deadline already waits for the server.
  Watch(**lease, deadline);
  PARLEY_RETURN_IF_ERROR((*lease)->SetDeadline(deadline));
  return lease;
}

void SessionPool::Watch(Session& session, absl::Time deadline) {
  if (deadline == absl::InfiniteFuture()) return;
  // A server that works gives up its statements by itself, an eighth late at most.
  const absl::Time now = SteadyNow();
  const absl::Time overdue_at =
      deadline + kGrace + std::max(deadline - now, absl::ZeroDuration()) / 4;
  MutexLock lock(mutex_);
  overdue_at_[&session] = overdue_at;
  if (overdue_at < watchdog_wakes_) overdue_changed_.NotifyAll();
}

void SessionPool::BreakOverdue() {
  MutexLock lock(mutex_);
  while (!stopping_) {
    const absl::Time now = SteadyNow();
    absl::Time next = absl::InfiniteFuture();
    for (auto& [session, overdue_at] : overdue_at_) {
      if (overdue_at <= now) {
        // Under the lock, so that it cannot be given back, and destroyed, meanwhile.
        session->Abort();
        overdue_at = absl::InfiniteFuture();
      }
      next = std::min(next, overdue_at);
    }
    watchdog_wakes_ = next;
    overdue_changed_.WaitUntil(mutex_, next);
  }
}

bool SessionPool::Answers(Session& session) {
  Watch(session, SteadyNow());
  const bool answers = session.Ping().ok();
  MutexLock lock(mutex_);
  overdue_at_.erase(&session);
  return answers;
}

absl::Status SessionPool::Ping(absl::Time deadline) {
  PARLEY_ASSIGN_OR_RETURN(const Lease lease, Acquire(deadline));
  return lease->Ping();
}

SessionPool::Load SessionPool::load() {
  MutexLock lock(mutex_);
  return {.size = options_.size,
          .in_use = options_.size - slots_,
          .waiting = static_cast<std::int32_t>(waiters_.size()),
          .failed_connects = failed_connects_};
}

absl::Status SessionPool::WaitForSlot(absl::Time deadline) {
  MutexLock lock(mutex_);
  if (slots_ > 0) {
    --slots_;
    wait_seconds_.Observe(0);
    return absl::OkStatus();
  }
  const absl::Time start = SteadyNow();
  Waiter waiter;
  waiters_.push_back(&waiter);
  while (!waiter.granted && SteadyNow() < deadline) {
    waiter.granted_changed.WaitUntil(mutex_, deadline);
  }
  wait_seconds_.Observe(absl::ToDoubleSeconds(SteadyNow() - start));
  if (waiter.granted) return absl::OkStatus();
  waiters_.erase(std::find(waiters_.begin(), waiters_.end(), &waiter));
  return Error(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded,
               "the deadline passed while waiting for a database connection");
}

void SessionPool::FreeSlot() {
  if (waiters_.empty()) {
    ++slots_;
    return;
  }
  // Handed over directly, so that a newcomer cannot overtake whoever waits.
  waiters_.front()->granted = true;
  waiters_.front()->granted_changed.NotifyOne();
  waiters_.pop_front();
}

absl::StatusOr<SessionPool::Lease> SessionPool::TakeOrConnect() {
  while (true) {
    Idle idle;
    {
      MutexLock lock(mutex_);
      if (idle_.empty()) break;
      idle = std::move(idle_.back());
      idle_.pop_back();
    }
    const absl::Time now = SteadyNow();
    if (now >= idle.expires || !idle.session->LooksAlive()) continue;
    if (now - idle.since > options_.ping_after_idle && !Answers(*idle.session)) continue;
    return Lease(this, std::move(idle.session), idle.expires);
  }
  return Connect();
}

absl::StatusOr<SessionPool::Lease> SessionPool::Connect() {
  {
    MutexLock lock(mutex_);
    if (const absl::Duration wait = retry_at_ - SteadyNow(); wait > absl::ZeroDuration()) {
      return WithRetryDelay(StatusFromSqlState("", "connect"), wait);
    }
  }
  absl::StatusOr<std::unique_ptr<Session>> session = Session::Connect(dsn_);
  MutexLock lock(mutex_);
  if (!session.ok()) {
    ++failed_connects_;
    backoff_ = std::clamp(backoff_ * 2, options_.first_backoff, options_.max_backoff);
    retry_at_ = SteadyNow() + backoff_;
    return session.status();
  }
  backoff_ = absl::ZeroDuration();
  retry_at_ = absl::InfinitePast();
  const double share = absl::Uniform(random_, 0.9, 1.0);
  return Lease(this, *std::move(session), SteadyNow() + share * options_.max_lifetime);
}

void SessionPool::GiveBack(std::unique_ptr<Session> session, absl::Time expires) {
  // Still watched: the rollback waits for the server too.
  const bool usable = session->Reset();
  {
    MutexLock lock(mutex_);
    overdue_at_.erase(session.get());
  }
  if (!usable) session.reset();
  MutexLock lock(mutex_);
  if (usable) idle_.push_back({std::move(session), expires, SteadyNow()});
  FreeSlot();
}

}  // namespace parley::db
