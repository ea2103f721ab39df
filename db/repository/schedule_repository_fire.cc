// The part of ScheduleRepository that makes firings.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fingerprint.h"
#include "base/status_macros.h"
#include "db/core/session.h"
#include "db/core/transaction.h"
#include "db/model/firing_plan.h"
#include "db/repository/paging.h"
#include "db/repository/request_log.h"
#include "db/repository/schedule_repository.h"
#include "db/repository/schedule_rows.h"
#include "db/repository/statements.h"
#include "db/repository/task_rows.h"

namespace parley::db {
namespace {

// Columns of a statement that unnests them.
class FiringColumns {
 public:
  struct Firing {
    std::int64_t schedule_id = 0;
    absl::Time fire_time;
    absl::Duration delay;      // of the task
    std::int64_t task_id = 0;  // 0: the next one
  };
  void Add(const Firing& firing) {
    schedule_ids_.push_back(firing.schedule_id);
    fire_us_.push_back(absl::ToUnixMicros(firing.fire_time));
    delay_us_.push_back(absl::ToInt64Microseconds(firing.delay));
    task_ids_.push_back(firing.task_id);
  }

  absl::StatusOr<std::vector<FiredRow>> Insert(Session& session) const {
    if (schedule_ids_.empty()) return std::vector<FiredRow>();
    return session.Query<FiredRow>(sql::task_schedule::InsertFirings,
                                   {{"schedule_ids", ArrayLiteral(schedule_ids_)},
                                    {"fire_us", ArrayLiteral(fire_us_)},
                                    {"delay_us", ArrayLiteral(delay_us_)},
                                    {"task_ids", ArrayLiteral(task_ids_)}});
  }

 private:
  std::vector<std::int64_t> schedule_ids_;
  std::vector<std::int64_t> fire_us_;
  std::vector<std::int64_t> delay_us_;
  std::vector<std::int64_t> task_ids_;
};

// What a schedule has come to.
struct Step {
  const Schedule* schedule;
  DueFirings due;
  FiringPlan plan;
};

std::int64_t MicrosOrZero(const std::optional<absl::Time>& time) {
  return time ? absl::ToUnixMicros(*time) : 0;
}

absl::Status Advance(Session& session, const std::vector<Step>& steps,
                     const std::map<std::int64_t, std::int64_t>& last_task_ids) {
  const auto column = [&](const auto& get) {
    std::vector<std::int64_t> values;
    values.reserve(steps.size());
    for (const Step& step : steps) values.push_back(get(step));
    return ArrayLiteral(values);
  };
  return session
      .Execute(
          sql::task_schedule::AdvanceSchedules,
          {{"ids", column([](const Step& step) { return step.schedule->id; })},
           {"next_us", column([](const Step& step) { return MicrosOrZero(step.due.next); })},
           {"buffered_us", column([](const Step& step) { return MicrosOrZero(step.plan.buffer); })},
           {"last_fire_us", column([](const Step& step) {
              return step.plan.create.empty() ? 0 : absl::ToUnixMicros(step.plan.create.back());
            })},
           {"last_task_ids", column([&](const Step& step) {
              const auto found = last_task_ids.find(step.schedule->id);
              return found == last_task_ids.end() ? 0 : found->second;
            })},
           {"fired", column([](const Step& step) {
              return static_cast<std::int64_t>(step.plan.create.size());
            })},
           {"missed", column([](const Step& step) { return step.due.missed; })},
           {"overlapped", column([](const Step& step) { return step.plan.overlapped; })},
           {"buffered", column([](const Step& step) { return step.plan.buffered; })}})
      .status();
}

// Cancels all tasks of these schedules. Workers hear of it from the looks that the hub takes.
absl::Status CancelTasksOf(Session& session, const std::vector<std::int64_t>& schedule_ids) {
  if (schedule_ids.empty()) return absl::OkStatus();
  PARLEY_ASSIGN_OR_RETURN(const std::vector<IdRow> rows,
                          session.Query<IdRow>(sql::task_schedule::LockTasksOfSchedules,
                                               {{"ids", ArrayLiteral(schedule_ids)}}));
  std::vector<std::int64_t> task_ids;
  task_ids.reserve(rows.size());
  for (const IdRow& row : rows) task_ids.push_back(row.id);
  const std::string ids = ArrayLiteral(task_ids);
  PARLEY_RETURN_IF_ERROR(
      session.Query<IdRow>(sql::task_schedule::CancelTasks, {{"ids", ids}}).status());
  return session.Query<IdRow>(sql::task_schedule::RequestCancels, {{"ids", ids}}).status();
}

// Those of the schedules that have tasks; none for those that do not mind.
absl::StatusOr<std::set<std::int64_t>> FindBusy(Session& session,
                                                const std::vector<ScheduleTimingRow>& rows) {
  std::vector<std::int64_t> ids;
  for (const ScheduleTimingRow& row : rows) {
    if (row.schedule.overlap_policy != OverlapPolicy::kAllow) ids.push_back(row.schedule.id);
  }
  std::set<std::int64_t> busy;
  if (ids.empty()) return busy;
  // A statement of its own, after the locks: it sees what the previous holders have made.
  PARLEY_ASSIGN_OR_RETURN(const std::vector<IdRow> found,
                          session.Query<IdRow>(sql::task_schedule::FindSchedulesWithTasks,
                                               {{"ids", ArrayLiteral(ids)}}));
  for (const IdRow& row : found) busy.insert(row.id);
  return busy;
}

absl::StatusOr<ScheduleRepository::FireResult> Fire(Session& session, std::int32_t max_schedules) {
  PARLEY_ASSIGN_OR_RETURN(const std::vector<ScheduleTimingRow> rows,
                          session.Query<ScheduleTimingRow>(sql::task_schedule::LockDueSchedules,
                                                           {{"max_schedules", max_schedules}}));
  PARLEY_ASSIGN_OR_RETURN(const std::set<std::int64_t> busy, FindBusy(session, rows));
  ScheduleRepository::FireResult result;
  std::vector<Step> steps;
  std::vector<std::int64_t> to_cancel;
  FiringColumns firings;
  for (const ScheduleTimingRow& row : rows) {
    const Schedule& schedule = row.schedule;
    const absl::StatusOr<Recurrence> recurrence = RecurrenceOf(schedule.spec);
    if (!recurrence.ok()) {
      ++result.stuck;
      continue;
    }
    Step step = {&schedule, FindDueFirings(schedule, *recurrence, row.now), {}};
    step.plan = PlanFirings(schedule, busy.contains(schedule.id), step.due.times);
    if (step.plan.cancel_others) to_cancel.push_back(schedule.id);
    for (const absl::Time time : step.plan.create) {
      firings.Add({schedule.id, time, JitterOf(schedule, time)});
    }
    steps.push_back(std::move(step));
  }
  if (steps.empty()) return result;
  PARLEY_RETURN_IF_ERROR(CancelTasksOf(session, to_cancel));
  PARLEY_ASSIGN_OR_RETURN(const std::vector<FiredRow> fired, firings.Insert(session));
  std::map<std::int64_t, std::int64_t> last_task_ids;
  for (const FiredRow& task : fired) {
    std::int64_t& last = last_task_ids[task.schedule_id];
    last = std::max(last, task.task_id);
    result.tasks.push_back({task.queue, task.due_in});
  }
  PARLEY_RETURN_IF_ERROR(Advance(session, steps, last_task_ids));
  result.moved = static_cast<std::int32_t>(steps.size());
  return result;
}

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

// If what this process knows of its zone says another time, that is when it fires next. Whether it
// does.
absl::StatusOr<bool> FollowZone(Session& session, const Schedule& schedule) {
  // A zone that is not known here is left to those who know it.
  const absl::StatusOr<Recurrence> recurrence = RecurrenceOf(schedule.spec);
  if (!recurrence.ok()) return false;
  const std::optional<Occurrence> next = recurrence->Next(schedule.considered_until);
  if (next && next->time == schedule.next_fire_time) return false;
  std::optional<absl::Time> next_time;
  if (next) next_time = next->time;
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> moved,
      session.QueryOptional<IdRow>(sql::task_schedule::MoveNextFiring,
                                   {{"id", schedule.id},
                                    {"considered_us", schedule.considered_until},
                                    {"next_us", next_time}}));
  return moved.has_value();
}

}  // namespace

absl::StatusOr<ScheduleRepository::FireResult> ScheduleRepository::FireDue(
    std::int32_t max_schedules, absl::Time deadline) {
  return RunTransaction(pool_, deadline, OnLostCommit::kSafeToRetry,
                        [&](Session& session) { return Fire(session, max_schedules); });
}

absl::StatusOr<ScheduleRepository::NextFiring> ScheduleRepository::FindNextFiring(
    absl::Time deadline) {
  return RunOnce(pool_, deadline, [](Session& session) -> absl::StatusOr<NextFiring> {
    PARLEY_ASSIGN_OR_RETURN(
        const std::optional<NextFiringRow> row,
        session.QueryOptional<NextFiringRow>(sql::task_schedule::NextFiring, {}));
    if (!row) return InternalError("nobody knows what fires next");
    return NextFiring{row->due_in.value_or(absl::InfiniteDuration()), row->buffering};
  });
}

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

absl::StatusOr<ScheduleRepository::ZoneBatch> ScheduleRepository::FollowZones(std::int64_t after,
                                                                              std::int32_t limit,
                                                                              absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<ZoneBatch> {
    PARLEY_ASSIGN_OR_RETURN(
        const std::vector<ScheduleTimingRow> rows,
        session.Query<ScheduleTimingRow>(sql::task_schedule::ListSchedulesByCron,
                                         {{"after", after}, {"limit", limit}}));
    ZoneBatch batch;
    for (const ScheduleTimingRow& row : rows) {
      PARLEY_ASSIGN_OR_RETURN(const bool moved, FollowZone(session, row.schedule));
      if (moved) ++batch.moved;
      batch.last_id = row.schedule.id;
    }
    return batch;
  });
}

}  // namespace parley::db
