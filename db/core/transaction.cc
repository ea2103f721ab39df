#include "db/core/transaction.h"

#include <algorithm>
#include <thread>

#include "absl/random/random.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/status_macros.h"

namespace parley::db {
namespace {

constexpr absl::Duration kFirstBackoff = absl::Milliseconds(2);
constexpr absl::Duration kMaxBackoff = absl::Milliseconds(200);

// How one attempt ended. `commit_sent` tells a lost write from one that may have happened.
struct Attempt {
  absl::Status status;
  bool commit_sent = false;
};

Attempt RunAttempt(SessionPool& pool, absl::Time deadline,
                   const std::function<absl::Status(Session&)>& body) {
  absl::StatusOr<SessionPool::Lease> lease = pool.Acquire(deadline);
  if (!lease.ok()) return {lease.status()};
  Session& session = **lease;
  // The lease rolls back what is left open when it is given back.
  if (absl::Status begun = session.Begin(); !begun.ok()) return {begun};
  if (absl::Status done = body(session); !done.ok()) return {done};
  if (SteadyNow() >= deadline) {
    return {Error(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded,
                  "the deadline passed before the commit; nothing was written")};
  }
  return {session.Commit(), /*commit_sent=*/true};
}

}  // namespace

absl::Status LostCommit(OnLostCommit on_lost_commit) {
  if (on_lost_commit == OnLostCommit::kSafeToRetry) {
    return Error(absl::StatusCode::kUnavailable, reason::kCommitInDoubt,
                 "the connection broke during the commit; send the same request again to learn "
                 "what became of it");
  }
  return Error(absl::StatusCode::kUnknown, reason::kCommitInDoubt,
               "the connection broke during the commit; the write may or may not have happened");
}

absl::Status RunInOneTransaction(Session& session, const std::function<absl::Status()>& body) {
  PARLEY_RETURN_IF_ERROR(session.Begin());
  // The lease rolls back what is left open when it is given back.
  PARLEY_RETURN_IF_ERROR(body());
  return session.Commit();
}

absl::Status RunTransactionImpl(SessionPool& pool, absl::Time deadline, OnLostCommit on_lost_commit,
                                const std::function<absl::Status(Session&)>& body) {
  absl::BitGen random;
  absl::Duration backoff = kFirstBackoff;
  bool reconnected = false;
  while (true) {
    const Attempt attempt = RunAttempt(pool, deadline, body);
    if (attempt.status.ok()) return attempt.status;
    if (IsConnectionLost(attempt.status)) {
      if (attempt.commit_sent) return LostCommit(on_lost_commit);
      // Nothing was written. A connection that had died while idle deserves a second try, once.
      if (std::exchange(reconnected, true)) return attempt.status;
      continue;
    }
    if (!IsRetryable(attempt.status)) return attempt.status;
    const absl::Duration pause = backoff * absl::Uniform(random, 0.5, 1.0);
    if (SteadyNow() + pause >= deadline) return attempt.status;
    std::this_thread::sleep_for(absl::ToChronoNanoseconds(pause));
    backoff = std::min(backoff * 2, kMaxBackoff);
  }
}

}  // namespace parley::db
