// The part of ScheduleRepository that makes firings for who asks for them.
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fingerprint.h"
#include "base/status_macros.h"
#include "db/core/session.h"
#include "db/core/transaction.h"
#include "db/repository/firing_columns.h"
#include "db/repository/paging.h"
#include "db/repository/request_log.h"
#include "db/repository/schedule_repository.h"
#include "db/repository/schedule_rows.h"
#include "db/repository/statements.h"
#include "db/repository/task_rows.h"

namespace parley::db {
namespace {

// What a backfill makes goes in one transaction, which a caller waits for.
constexpr std::int64_t kMaxBackfillBytes = std::int64_t{32} << 20;

absl::Status RangeRefused(absl::string_view field, absl::string_view why) {
  Violations violations;
  violations.Add(field, why);
  return violations.ToStatus();
}

absl::StatusOr<ScheduleRepository::Backfilled> FillBack(
    Session& session, const ScheduleRepository::BackfillParams& params) {
  const RequestKey key{"BackfillSchedule", 0, params.request_id,
                       Fingerprint({absl::StrCat(params.id), params.fingerprint})};
  PARLEY_ASSIGN_OR_RETURN(std::optional<std::int64_t> earlier, FindRequest(session, key));
  if (earlier) return ScheduleRepository::Backfilled{.firings = *earlier};
  PARLEY_ASSIGN_OR_RETURN(const ScheduleRow row, LockSchedule(session, params.id));
  if (params.end > row.now) return RangeRefused("end_time", "must not be in the future");
  PARLEY_ASSIGN_OR_RETURN(const Recurrence recurrence, RecurrenceOf(row.schedule.spec));
  constexpr absl::Duration kTick = absl::Microseconds(1);
  const absl::Time after = params.start - kTick;
  const absl::Time until = params.end - kTick;
  const std::int64_t count = recurrence.Count(after, until);
  if (count > params.limit) {
    return RangeRefused("limit", absl::StrCat("is less than the ", count, " firings of the range"));
  }
  const auto task_bytes = static_cast<std::int64_t>(row.schedule.task.payload.size());
  if (count * task_bytes > kMaxBackfillBytes) {
    return RangeRefused("end_time", absl::StrCat("leaves ", count, " firings with payloads of ",
                                                 task_bytes, " bytes, more than 32 MiB together"));
  }
  PARLEY_ASSIGN_OR_RETURN(earlier, ClaimRequest(session, key, count));
  if (earlier) return ScheduleRepository::Backfilled{.firings = *earlier};
  FiringColumns firings;
  for (const Occurrence& occurrence : recurrence.First(after, until, count)) {
    firings.Add({params.id, occurrence.time});
  }
  PARLEY_ASSIGN_OR_RETURN(const std::vector<FiredRow> fired, firings.Insert(session));
  PARLEY_RETURN_IF_ERROR(
      session.Execute(sql::task_schedule::CountBackfilled, {{"id", params.id}, {"count", count}})
          .status());
  ScheduleRepository::Backfilled result = {.firings = count};
  if (!fired.empty()) result.queues.push_back(fired.front().queue);
  return result;
}

absl::StatusOr<Task> TriggerNow(Session& session, const ScheduleRepository::TriggerParams& params) {
  const RequestKey key{"TriggerSchedule", 0, params.request_id,
                       Fingerprint({absl::StrCat(params.id)})};
  PARLEY_ASSIGN_OR_RETURN(const std::int64_t task_id, NextId(session, "task_id_seq"));
  PARLEY_ASSIGN_OR_RETURN(const std::optional<std::int64_t> first,
                          ClaimRequest(session, key, task_id));
  if (first) return ReadTask(session, *first);
  PARLEY_RETURN_IF_ERROR(LockSchedule(session, params.id).status());
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> free,
      session.QueryOptional<IdRow>(sql::task_schedule::FreeFireTime, {{"id", params.id}}));
  if (!free) return InternalError("there is no time to fire at");
  FiringColumns firing;
  firing.Add(
      {.schedule_id = params.id, .fire_time = absl::FromUnixMicros(free->id), .task_id = task_id});
  PARLEY_RETURN_IF_ERROR(firing.Insert(session).status());
  PARLEY_RETURN_IF_ERROR(
      session.Execute(sql::task_schedule::CountTriggered, {{"id", params.id}, {"task_id", task_id}})
          .status());
  return ReadTask(session, task_id);
}

}  // namespace

absl::StatusOr<Task> ScheduleRepository::Trigger(const TriggerParams& params, absl::Time deadline) {
  const OnLostCommit on_lost_commit =
      params.request_id.empty() ? OnLostCommit::kInDoubt : OnLostCommit::kSafeToRetry;
  return RunTransaction(pool_, deadline, on_lost_commit,
                        [&](Session& session) { return TriggerNow(session, params); });
}

absl::StatusOr<ScheduleRepository::Backfilled> ScheduleRepository::Backfill(
    const BackfillParams& params, absl::Time deadline) {
  const OnLostCommit on_lost_commit =
      params.request_id.empty() ? OnLostCommit::kInDoubt : OnLostCommit::kSafeToRetry;
  return RunTransaction(pool_, deadline, on_lost_commit,
                        [&](Session& session) { return FillBack(session, params); });
}

}  // namespace parley::db
