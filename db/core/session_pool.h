// A bounded set of connections, shared by the threads of one process.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/random/random.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/histogram.h"
#include "base/mutex.h"
#include "db/core/dsn.h"
#include "db/core/session.h"

namespace parley::db {

struct PoolOptions {
  std::int32_t size = 4;                            // connections at most
  absl::Duration max_lifetime = absl::Minutes(30);  // -10 % at random, so that not all end at once
  absl::Duration ping_after_idle = absl::Seconds(15);  // idle for longer: asked before it is lent
  absl::Duration first_backoff = absl::Milliseconds(50);  // after a failed connect; doubles
  absl::Duration max_backoff = absl::Milliseconds(500);
};

// Thread-safe. Connections are opened on demand, lent last-in-first-out, and opened again when they
// break. While the server is away, connects are spaced by a backoff that all callers share. A
// server that falls silent cannot hold a caller: a connection that is still lent well after its
// deadline is broken by a thread of the pool's.
class SessionPool {
 public:
  SessionPool(Dsn dsn, PoolOptions options);
  ~SessionPool();  // every lease must have been given back

  // Where it connects to.
  const Dsn& dsn() const { return dsn_; }

  // A connection on loan; gives it back when destroyed. Movable.
  class Lease {
   public:
    Lease(Lease&& other) noexcept = default;
    Lease& operator=(Lease&& other) = delete;
    ~Lease();
    Session& operator*() const { return *session_; }
    Session* operator->() const { return session_.get(); }

   private:
    friend class SessionPool;
    Lease(SessionPool* pool, std::unique_ptr<Session> session, absl::Time expires)
        : pool_(pool), session_(std::move(session)), expires_(expires) {}
    SessionPool* pool_;
    std::unique_ptr<Session> session_;  // null once moved from
    absl::Time expires_;                // the end of the connection's lifetime
  };

  // Waits, first come first served, for a connection with its statement deadline set.
  // DEADLINE_EXCEEDED: none came free before `deadline`. UNAVAILABLE: the server cannot be reached.
  absl::StatusOr<Lease> Acquire(absl::Time deadline);

  // Asks the server whether it is there, through a connection of the pool.
  absl::Status Ping(absl::Time deadline);

  // What it does at the moment, and what has failed so far.
  struct Load {
    std::int32_t size = 0;     // connections at most
    std::int32_t in_use = 0;   // lent, or being opened
    std::int32_t waiting = 0;  // callers for whom there is none
    std::int64_t failed_connects = 0;
  };
  Load load() ABSL_LOCKS_EXCLUDED(mutex_);
  // How long each caller has waited for others to give a connection back, in seconds.
  const Histogram& wait_seconds() const { return wait_seconds_; }

 private:
  struct Idle {
    std::unique_ptr<Session> session;
    absl::Time expires;
    absl::Time since;
  };
  struct Waiter;

  absl::Status WaitForSlot(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<Lease> TakeOrConnect() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<Lease> Connect() ABSL_LOCKS_EXCLUDED(mutex_);
  void GiveBack(std::unique_ptr<Session> session, absl::Time expires) ABSL_LOCKS_EXCLUDED(mutex_);
  void FreeSlot() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Watch(Session& session, absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  bool Answers(Session& session) ABSL_LOCKS_EXCLUDED(mutex_);
  void BreakOverdue() ABSL_LOCKS_EXCLUDED(mutex_);

  const Dsn dsn_;
  const PoolOptions options_;
  Mutex mutex_;
  absl::BitGen random_ ABSL_GUARDED_BY(mutex_);
  std::vector<Idle> idle_ ABSL_GUARDED_BY(mutex_);
  std::deque<Waiter*> waiters_ ABSL_GUARDED_BY(mutex_);
  // When to break what is lent, unless it is given back before.
  std::unordered_map<Session*, absl::Time> overdue_at_ ABSL_GUARDED_BY(mutex_);
  CondVar overdue_changed_;
  absl::Time watchdog_wakes_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::int32_t slots_ ABSL_GUARDED_BY(mutex_);  // free: idle or not yet connected
  absl::Duration backoff_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  absl::Time retry_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::int64_t failed_connects_ ABSL_GUARDED_BY(mutex_) = 0;
  Histogram wait_seconds_{{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}};
  std::thread watchdog_;  // the last member: it uses the others
};

}  // namespace parley::db
