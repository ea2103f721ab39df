#include "services/chat/user_eraser.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "services/runtime/log.h"

namespace parley::chat {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(5);  // of one step

absl::Time StepDeadline() { return SteadyNow() + kPatience; }

}  // namespace

jobs::Outcome UserEraser::Run(const jobs::Job& job) const {
  const absl::StatusOr<bool> erased = Erase(job);
  if (erased.ok()) {
    return {*erased ? jobs::Outcome::Kind::kEnded : jobs::Outcome::Kind::kReleased, ""};
  }
  const std::string why = DetailsOf(erased.status()).reason;
  if (why == reason::kLeaseLost) return {};  // another process goes on
  return {jobs::Outcome::Kind::kRetry, why};
}

absl::StatusOr<bool> UserEraser::Erase(const jobs::Job& job) const {
  const std::int64_t user_id = db::ErasureRepository::UserOf(job.task);
  db::ErasureRepository::Place place;
  // Membership first: once the user has left, nobody sends or schedules in the user's name
  // behind what has been removed.
  const std::vector<std::function<absl::StatusOr<bool>()>> steps = {
      [&] { return erasures_.LeaveChat(user_id, StepDeadline()); },
      [&] { return erasures_.WipeScheduled(user_id, StepDeadline()); },
      [&] { return erasures_.Redact(user_id, place, StepDeadline()); },
      [&] { return erasures_.ForgetRequests(user_id, StepDeadline()); },
  };
  for (const auto& step : steps) {
    for (bool more = true; more;) {
      if (job.stopping()) return false;
      PARLEY_ASSIGN_OR_RETURN(more, step());
    }
  }
  PARLEY_RETURN_IF_ERROR(erasures_.Finish(user_id, job.lease, StepDeadline()));
  runtime::Log(runtime::LogLevel::kInfo, "a user is erased", {{"user_id", user_id}});
  return true;
}

}  // namespace parley::chat
