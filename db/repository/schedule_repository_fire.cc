// The part of ScheduleRepository that makes the firings whose time has come.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/session.h"
#include "db/core/transaction.h"
#include "db/model/firing_plan.h"
#include "db/repository/columns.h"
#include "db/repository/firing_columns.h"
#include "db/repository/schedule_repository.h"
#include "db/repository/schedule_rows.h"
#include "db/repository/statements.h"
#include "db/repository/task_rows.h"

namespace parley::db {
namespace {

// What one transaction makes, or cancels, at most; it also ends before it weighs kMaxMovedBytes.
constexpr std::int32_t kMaxTasksAtOnce = 1000;

// What a schedule has come to.
struct Step {
  const Schedule* schedule;
  std::int64_t task_bytes = 0;
  DueFirings due;
  FiringPlan plan = {};
};

// What a transaction has room for.
class Room {
 public:
  // How many tasks of so many bytes each.
  std::int64_t For(std::int64_t task_bytes) const {
    return std::max<std::int64_t>(0, std::min(tasks_, bytes_ / task_bytes));
  }
  void Take(const Step& step) {
    const auto count = static_cast<std::int64_t>(step.plan.create.size());
    tasks_ -= count;
    bytes_ -= count * step.task_bytes;
  }

 private:
  std::int64_t tasks_ = kMaxTasksAtOnce;
  std::int64_t bytes_ = kMaxMovedBytes;
};

// Whether it may have much to make up for, which may be made a few at a time.
bool CatchesUp(const DueScheduleRow& row) {
  const Schedule& schedule = row.schedule;
  return schedule.overlap_policy == OverlapPolicy::kAllow &&
         schedule.misfire_policy == MisfirePolicy::kAll && schedule.next_fire_time &&
         *schedule.next_fire_time <= row.now - kFiringGrace;
}

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
           {"until_us", column([](const Step& step) { return MicrosOrZero(step.due.until); })},
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

// Cancels the tasks of schedules that are to have no other; as many as fit into a transaction.
// Workers hear of it from the looks that the hub takes. Returns which schedules still have some.
absl::StatusOr<std::set<std::int64_t>> CancelOthers(Session& session,
                                                    const std::vector<Step>& steps) {
  std::vector<std::int64_t> schedule_ids;
  for (const Step& step : steps) {
    if (step.plan.cancel_others) schedule_ids.push_back(step.schedule->id);
  }
  std::set<std::int64_t> left;
  if (schedule_ids.empty()) return left;
  PARLEY_ASSIGN_OR_RETURN(const std::vector<IdRow> rows,
                          session.Query<IdRow>(sql::task_schedule::LockTasksOfSchedules,
                                               {{"ids", ArrayLiteral(schedule_ids)},
                                                {"max_tasks", kMaxTasksAtOnce},
                                                {"max_bytes", kMaxMovedBytes}}));
  std::vector<std::int64_t> task_ids;
  task_ids.reserve(rows.size());
  for (const IdRow& row : rows) task_ids.push_back(row.id);
  const std::string ids = ArrayLiteral(task_ids);
  PARLEY_RETURN_IF_ERROR(
      session.Query<IdRow>(sql::task_schedule::CancelTasks, {{"ids", ids}}).status());
  PARLEY_RETURN_IF_ERROR(
      session.Query<IdRow>(sql::task_schedule::RequestCancels, {{"ids", ids}}).status());
  PARLEY_ASSIGN_OR_RETURN(const std::vector<IdRow> unfinished,
                          session.Query<IdRow>(sql::task_schedule::FindSchedulesToCancel,
                                               {{"ids", ArrayLiteral(schedule_ids)}}));
  for (const IdRow& row : unfinished) left.insert(row.id);
  return left;
}

// Those of the schedules that have tasks; none for those that do not mind.
absl::StatusOr<std::set<std::int64_t>> FindBusy(Session& session,
                                                const std::vector<DueScheduleRow>& rows) {
  std::vector<std::int64_t> ids;
  for (const DueScheduleRow& row : rows) {
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

// Plans the firings of locked schedules, as many as a transaction has room for. In the order of the
// rows, but those that catch up come last: the first of them makes at least one firing, so that
// each comes to its end however much the others have to do. `stuck`: those whose zone is not known
// here.
std::vector<Step> PlanWhatFits(const std::vector<DueScheduleRow>& rows,
                               const std::set<std::int64_t>& busy,
                               std::vector<std::int64_t>& stuck) {
  std::vector<const DueScheduleRow*> in_order;
  in_order.reserve(rows.size());
  for (const DueScheduleRow& row : rows) in_order.push_back(&row);
  const auto catching_up = std::stable_partition(
      in_order.begin(), in_order.end(), [](const DueScheduleRow* row) { return !CatchesUp(*row); });
  Room room;
  std::vector<Step> steps;
  bool has_catch_up = false;
  for (auto next = in_order.begin(); next != in_order.end(); ++next) {
    const DueScheduleRow& row = **next;
    const bool catches_up = next >= catching_up;
    const std::int64_t fits = room.For(row.task_bytes);
    // Its plan, which may be of a thousand firings, would be made for nothing.
    if (catches_up && has_catch_up && fits == 0) continue;
    const absl::StatusOr<Recurrence> recurrence = RecurrenceOf(row.schedule.spec);
    if (!recurrence.ok()) {
      stuck.push_back(row.schedule.id);
      continue;
    }
    Step step = {&row.schedule, row.task_bytes, FindDueFirings(row.schedule, *recurrence, row.now)};
    step.plan = PlanFirings(row.schedule, busy.contains(row.schedule.id), step.due.times);
    if (static_cast<std::int64_t>(step.plan.create.size()) > fits) {
      if (catches_up && step.due.late > 0) {
        step.due = FirstOfLate(std::move(step.due), std::max<std::int64_t>(fits, 1));
        step.plan = PlanFirings(row.schedule, /*has_task=*/false, step.due.times);
      } else if (!steps.empty()) {
        continue;
      }
    }
    has_catch_up = has_catch_up || catches_up;
    room.Take(step);
    steps.push_back(std::move(step));
  }
  return steps;
}

// Makes the tasks and moves the schedules on. `result` gets to know of the tasks.
absl::Status Make(Session& session, const std::vector<Step>& steps,
                  ScheduleRepository::FireResult& result) {
  if (steps.empty()) return absl::OkStatus();
  FiringColumns firings;
  for (const Step& step : steps) {
    for (const absl::Time time : step.plan.create) {
      firings.Add({step.schedule->id, time, JitterOf(*step.schedule, time)});
    }
  }
  PARLEY_ASSIGN_OR_RETURN(const std::vector<FiredRow> fired, firings.Insert(session));
  std::map<std::int64_t, std::int64_t> last_task_ids;
  for (const FiredRow& task : fired) {
    std::int64_t& last = last_task_ids[task.schedule_id];
    last = std::max(last, task.task_id);
    result.tasks.push_back({task.queue, task.due_in});
  }
  return Advance(session, steps, last_task_ids);
}

absl::StatusOr<ScheduleRepository::FireResult> FireSome(Session& session,
                                                        const std::vector<std::int64_t>& ids) {
  PARLEY_ASSIGN_OR_RETURN(const std::vector<DueScheduleRow> rows,
                          session.Query<DueScheduleRow>(sql::task_schedule::LockDueSchedules,
                                                        {{"ids", ArrayLiteral(ids)}}));
  PARLEY_ASSIGN_OR_RETURN(const std::set<std::int64_t> busy, FindBusy(session, rows));
  ScheduleRepository::FireResult result;
  std::vector<Step> steps = PlanWhatFits(rows, busy, result.stuck);
  for (const Step& step : steps) result.moved.push_back(step.schedule->id);
  // Those whose tasks are not all cancelled fire when they are, in a transaction to come.
  PARLEY_ASSIGN_OR_RETURN(const std::set<std::int64_t> waiting, CancelOthers(session, steps));
  std::erase_if(steps, [&](const Step& step) { return waiting.contains(step.schedule->id); });
  PARLEY_RETURN_IF_ERROR(Make(session, steps, result));
  return result;
}

}  // namespace

absl::StatusOr<std::vector<std::int64_t>> ScheduleRepository::FindDue(const FindDueParams& params,
                                                                      absl::Time deadline) {
  return RunOnce(pool_, deadline,
                 [&](Session& session) -> absl::StatusOr<std::vector<std::int64_t>> {
                   PARLEY_ASSIGN_OR_RETURN(
                       const std::vector<IdRow> rows,
                       session.Query<IdRow>(sql::task_schedule::FindDueSchedules,
                                            {{"except", ArrayLiteral(params.except)},
                                             {"grace_us", absl::ToInt64Microseconds(kFiringGrace)},
                                             {"max_schedules", params.max_schedules}}));
                   std::vector<std::int64_t> ids;
                   ids.reserve(rows.size());
                   for (const IdRow& row : rows) ids.push_back(row.id);
                   return ids;
                 });
}

absl::StatusOr<ScheduleRepository::FireResult> ScheduleRepository::Fire(
    const std::vector<std::int64_t>& ids, absl::Time deadline) {
  return RunTransaction(pool_, deadline, OnLostCommit::kSafeToRetry,
                        [&](Session& session) { return FireSome(session, ids); });
}

absl::StatusOr<ScheduleRepository::NextFiring> ScheduleRepository::FindNextFiring(
    const std::vector<std::int64_t>& except, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<NextFiring> {
    PARLEY_ASSIGN_OR_RETURN(
        const std::optional<NextFiringRow> row,
        session.QueryOptional<NextFiringRow>(sql::task_schedule::NextFiring,
                                             {{"except", ArrayLiteral(except)}}));
    if (!row) return InternalError("nobody knows what fires next");
    return NextFiring{row->due_in.value_or(absl::InfiniteDuration()), row->buffering};
  });
}

}  // namespace parley::db
