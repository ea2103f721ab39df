// Hands out due tasks: the hot statements of a scheduler, on a connection of their own. Tasks of
// queues that limit what runs are handed out one queue at a time (sql/limited.sql).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/dsn.h"
#include "db/core/hot_connection.h"
#include "db/model/task.h"

namespace parley::db {

// How much the tasks of one claim may weigh; gRPC clients refuse answers above 4 MiB.
inline constexpr std::int64_t kMaxTasksBytes = std::int64_t{3} << 20;

// Connects when it is first used, and again when the connection is lost. Claims do not wait for the
// disk (synchronous_commit off): a server that crashes may forget the last ones, and the tasks are
// claimed once more, under another token. Whatever ends a task waits.
//
// Belongs to one thread at a time. Calls block at most until their deadline. Besides what is said
// with a method, they return UNAVAILABLE, DEADLINE_EXCEEDED, ABORTED (reason CONTENTION) and
// INTERNAL.
class TaskClaimer {
 public:
  explicit TaskClaimer(Dsn dsn) : dsn_(std::move(dsn)) {}

  struct ClaimParams {
    std::vector<std::string> queues;
    std::int32_t max_tasks = 1;
    absl::Duration lease_duration;
    std::string token;  // 32 lower-case hex digits, never used before
  };
  // PENDING -> RUNNING for due tasks, under one token: the greatest priority first, then the
  // longest due, at most kMaxTasksBytes but at least one. Tasks that another claim has its hands on
  // are passed over, so that fewer may come than are due. Empty: none was due. What was claimed
  // when the answer got lost is released by the next call.
  absl::StatusOr<std::vector<Task>> Claim(const ClaimParams& params, absl::Time deadline);

  struct LimitedClaimParams {
    std::string queue;
    std::int32_t max_tasks = 1;
    absl::Duration lease_duration;
    std::string token;
  };
  // The same for a queue that limits what runs: as many as its limits allow. Empty, too: somebody
  // else claims from it at the moment, or it does not limit anything.
  absl::StatusOr<std::vector<Task>> ClaimLimited(const LimitedClaimParams& params,
                                                 absl::Time deadline);

  // By the database's clock; not positive: now.
  struct NextDue {
    std::string queue;
    absl::Duration due_in;   // the first task; infinite: none is pending
    bool limited = false;    // it gives nothing to Claim, only to ClaimLimited
    absl::Duration open_in;  // nothing may run before; infinite: not before a task ends
  };
  // When to claim from each queue. Paused ones are left out.
  absl::StatusOr<std::vector<NextDue>> FindNextDue(const std::vector<std::string>& queues,
                                                   absl::Time deadline);

 private:
  // One transaction; returns what the last step returns. `repeatable`: may be done twice.
  absl::StatusOr<HotResult> Run(const std::vector<HotStep>& steps, absl::Time deadline,
                                bool repeatable);
  absl::StatusOr<HotResult> TryRun(const std::vector<HotStep>& steps, absl::Time deadline);
  // Run, with the last step a claim under `token`.
  absl::StatusOr<HotResult> RunClaim(const std::vector<HotStep>& steps, const std::string& token,
                                     absl::Time deadline);
  absl::Status ReleaseLostClaim(absl::Time deadline);

  const Dsn dsn_;
  std::unique_ptr<HotConnection> connection_;
  std::string lost_token_;  // of a claim whose answer got lost; empty: none
};

}  // namespace parley::db
