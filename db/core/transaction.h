// Runs the work of one use case on one connection, and again if PostgreSQL asks for it.
#pragma once

#include <functional>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/session.h"
#include "db/core/session_pool.h"

namespace parley::db {

// What a caller may conclude when the answer to COMMIT is lost.
enum class OnLostCommit {
  kInDoubt,      // UNKNOWN, reason COMMIT_IN_DOUBT
  kSafeToRetry,  // UNAVAILABLE: a request id or the nature of the write makes a repeat harmless
};

// The status of a write whose commit was sent and whose answer was lost.
absl::Status LostCommit(OnLostCommit on_lost_commit);

// The part of RunOnce that does not depend on its types, for a session that is only lent by
// transaction: BEGIN, `body`, COMMIT.
absl::Status RunInOneTransaction(Session& session, const std::function<absl::Status()>& body);

// Runs `body` outside a transaction: for one statement, or for reads that need not agree. (In one
// if a pooler lends by transaction, for there is no other place for the deadline.) Body: (Session&)
// -> absl::Status or absl::StatusOr<T>.
template <class Body>
std::invoke_result_t<Body, Session&> RunOnce(SessionPool& pool, absl::Time deadline, Body body) {
  absl::StatusOr<SessionPool::Lease> lease = pool.Acquire(deadline);
  if (!lease.ok()) return lease.status();
  Session& session = **lease;
  if (!session.is_pooled_by_transaction()) return body(session);
  std::invoke_result_t<Body, Session&> result = absl::UnknownError("not run");
  absl::Status status = RunInOneTransaction(session, [&]() -> absl::Status {
    result = body(session);
    if constexpr (std::is_same_v<decltype(result), absl::Status>) {
      return result;
    } else {
      return result.status();
    }
  });
  if (!status.ok()) return status;
  return result;
}

// The part of RunTransaction that does not depend on its types: BEGIN, `body`, COMMIT; a rollback
// if `body` fails or the deadline has passed before the commit; everything again after 40001 or
// 40P01, with backoff, until the deadline.
absl::Status RunTransactionImpl(SessionPool& pool, absl::Time deadline, OnLostCommit on_lost_commit,
                                const std::function<absl::Status(Session&)>& body);

// Runs `body` in a transaction at READ COMMITTED. Its writes are all there or none; a body that
// returns an error writes nothing. The body may run more than once, so it must not keep state.
// Body: (Session&) -> absl::StatusOr<T>. Besides the body's own errors: ABORTED (contention until
// the deadline), DEADLINE_EXCEEDED, UNAVAILABLE, UNKNOWN (see OnLostCommit).
template <class Body>
std::invoke_result_t<Body, Session&> RunTransaction(SessionPool& pool, absl::Time deadline,
                                                    OnLostCommit on_lost_commit, Body body) {
  std::invoke_result_t<Body, Session&> result = absl::UnknownError("not run");
  const absl::Status status =
      RunTransactionImpl(pool, deadline, on_lost_commit, [&](Session& session) -> absl::Status {
        result = body(session);
        return result.status();
      });
  if (!status.ok()) return status;
  return result;
}

}  // namespace parley::db
