#include "db/repository/schedule_repository.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/session.h"
#include "db/core/transaction.h"
#include "db/repository/paging.h"
#include "db/repository/request_log.h"
#include "db/repository/schedule_rows.h"
#include "db/repository/statements.h"
#include "db/repository/task_claimer.h"
#include "db/repository/user_repository.h"

namespace parley::db {
namespace {

absl::Status ScheduleNameTaken(absl::string_view name) {
  return Error(absl::StatusCode::kAlreadyExists, reason::kScheduleNameTaken,
               absl::StrCat("another schedule is named ", name), {{"name", std::string(name)}});
}

absl::StatusOr<Schedule> ReadSchedule(Session& session, std::int64_t id) {
  PARLEY_ASSIGN_OR_RETURN(
      std::optional<ScheduleRow> row,
      session.QueryOptional<ScheduleRow>(sql::task_schedule::GetSchedule, {{"id", id}}));
  if (!row) return ScheduleNotFound(id);
  return std::move(row->schedule);
}

absl::StatusOr<absl::Time> ReadClock(Session& session) {
  PARLEY_ASSIGN_OR_RETURN(const std::optional<IdRow> row,
                          session.QueryOptional<IdRow>(sql::task_schedule::Now, {}));
  if (!row) return InternalError("the database has no clock");
  return absl::FromUnixMicros(row->id);
}

// Where a schedule stands that has been dealt with up to `now`.
struct Standing {
  absl::Time considered_until;
  std::optional<absl::Time> next_fire_time;
};

absl::StatusOr<Standing> StandingAt(const ScheduleSpec& spec, absl::Time now) {
  PARLEY_ASSIGN_OR_RETURN(const Recurrence recurrence, RecurrenceOf(spec));
  Standing standing = {now, std::nullopt};
  if (const auto next = recurrence.Next(now)) standing.next_fire_time = next->time;
  return standing;
}

void AppendBinds(const Standing& standing, std::vector<Bind>& binds) {
  binds.emplace_back("considered_us", standing.considered_until);
  binds.emplace_back("next_us", standing.next_fire_time);
}

ScheduleSettings Merge(const Schedule& before, const ScheduleChange& change) {
  ScheduleSettings settings = before;
  if (change.name) settings.name = *change.name;
  if (change.spec) {
    settings.spec = *change.spec;
    if (settings.spec.cron.empty() && !settings.spec.anchor) {
      settings.spec.anchor = before.spec.anchor;
    }
  }
  if (change.task) settings.task = *change.task;
  settings.misfire_policy = change.misfire_policy.value_or(before.misfire_policy);
  settings.misfire_limit = change.misfire_limit.value_or(before.misfire_limit);
  settings.catch_up_window = change.catch_up_window.value_or(before.catch_up_window);
  settings.overlap_policy = change.overlap_policy.value_or(before.overlap_policy);
  settings.jitter = change.jitter.value_or(before.jitter);
  return settings;
}

// How many firings were due and have not been made. None can be counted for a zone that this host
// does not know.
std::int64_t CountMissed(const Schedule& schedule, absl::Time now) {
  const absl::StatusOr<Recurrence> recurrence = RecurrenceOf(schedule.spec);
  return recurrence.ok() ? recurrence->Count(schedule.considered_until, now) : 0;
}

absl::StatusOr<Schedule> Change(Session& session, const ScheduleRepository::UpdateParams& params) {
  PARLEY_ASSIGN_OR_RETURN(const ScheduleRow row, LockSchedule(session, params.id));
  const Schedule& before = row.schedule;
  if (params.version && *params.version != before.version) return EtagMismatch();
  ScheduleSettings settings = Merge(before, params.change);
  const absl::Time now = std::max(row.now, before.considered_until);
  SetAnchor(settings.spec, now);
  if (settings == before) return before;

  Standing standing = {before.considered_until, before.next_fire_time};
  std::int64_t missed = 0;
  if (settings.spec != before.spec) {
    PARLEY_ASSIGN_OR_RETURN(standing, StandingAt(settings.spec, now));
    missed = CountMissed(before, now);
  }
  std::vector<Bind> binds = SettingsBinds(settings);
  binds.emplace_back("id", params.id);
  binds.emplace_back("missed", missed);
  AppendBinds(standing, binds);
  const absl::Status status =
      session.Execute(sql::task_schedule::UpdateSchedule, std::move(binds)).status();
  if (status.code() == absl::StatusCode::kAlreadyExists) return ScheduleNameTaken(settings.name);
  PARLEY_RETURN_IF_ERROR(status);
  return ReadSchedule(session, params.id);
}

}  // namespace

absl::Status ScheduleNotFound(std::int64_t id) {
  return Error(absl::StatusCode::kNotFound, reason::kScheduleNotFound,
               absl::StrCat("there is no schedule ", id), {{"schedule_id", absl::StrCat(id)}});
}

absl::StatusOr<ScheduleRow> LockSchedule(Session& session, std::int64_t id) {
  PARLEY_ASSIGN_OR_RETURN(
      std::optional<ScheduleRow> row,
      session.QueryOptional<ScheduleRow>(sql::task_schedule::LockSchedule, {{"id", id}}));
  if (!row) return ScheduleNotFound(id);
  return *std::move(row);
}

absl::StatusOr<Schedule> ScheduleRepository::Create(const CreateParams& params,
                                                    absl::Time deadline) {
  const RequestKey key{"CreateSchedule", 0, params.request_id, params.fingerprint};
  return RunTransaction(
      pool_, deadline, LostCommitOf(key), [&](Session& session) -> absl::StatusOr<Schedule> {
        PARLEY_ASSIGN_OR_RETURN(const std::int64_t id, NextId(session, "schedule_id_seq"));
        PARLEY_ASSIGN_OR_RETURN(const std::optional<std::int64_t> first,
                                ClaimRequest(session, key, id));
        if (first) return ReadSchedule(session, *first);
        PARLEY_ASSIGN_OR_RETURN(const absl::Time now, ReadClock(session));
        ScheduleSettings settings = params.settings;
        SetAnchor(settings.spec, now);
        PARLEY_ASSIGN_OR_RETURN(const Standing standing, StandingAt(settings.spec, now));
        std::vector<Bind> binds = SettingsBinds(settings);
        binds.emplace_back("id", id);
        AppendBinds(standing, binds);
        PARLEY_ASSIGN_OR_RETURN(
            const std::optional<IdRow> inserted,
            session.QueryOptional<IdRow>(sql::task_schedule::InsertSchedule, std::move(binds)));
        if (!inserted) return ScheduleNameTaken(settings.name);
        return ReadSchedule(session, id);
      });
}

absl::StatusOr<Schedule> ScheduleRepository::Get(std::int64_t id, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) { return ReadSchedule(session, id); });
}

absl::StatusOr<Schedule> ScheduleRepository::GetByName(absl::string_view name,
                                                       absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<Schedule> {
    PARLEY_ASSIGN_OR_RETURN(std::optional<ScheduleRow> row,
                            session.QueryOptional<ScheduleRow>(
                                sql::task_schedule::GetScheduleByName, {{"name", name}}));
    if (row) return std::move(row->schedule);
    return Error(absl::StatusCode::kNotFound, reason::kScheduleNotFound,
                 absl::StrCat("there is no schedule named ", name), {{"name", std::string(name)}});
  });
}

absl::StatusOr<Page<Schedule, std::int64_t>> ScheduleRepository::List(const ListParams& params,
                                                                      absl::Time deadline) {
  using SchedulePage = Page<Schedule, std::int64_t>;
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<SchedulePage> {
    const auto limit = static_cast<std::size_t>(params.page.limit);
    // One more than asked for tells whether there is a next page.
    PARLEY_ASSIGN_OR_RETURN(
        std::vector<ListedScheduleRow> rows,
        session.Query<ListedScheduleRow>(
            sql::task_schedule::ListSchedules,
            {{"queue", params.queue},
             {"before", params.page.after.value_or(std::numeric_limits<std::int64_t>::max())},
             {"limit", params.page.limit + 1},
             {"offset", params.page.offset},
             {"max_bytes", kMaxTasksBytes}}));
    SchedulePage page;
    for (std::size_t i = 0; i < std::min(rows.size(), limit); ++i) {
      page.rows.push_back(std::move(rows[i].schedule));
    }
    if (!page.rows.empty() && static_cast<std::size_t>(rows.front().found) > page.rows.size()) {
      page.next = page.rows.back().id;
    }
    return page;
  });
}

absl::StatusOr<Schedule> ScheduleRepository::Update(const UpdateParams& params,
                                                    absl::Time deadline) {
  return RunTransaction(pool_, deadline, OnLostCommit::kSafeToRetry,
                        [&](Session& session) { return Change(session, params); });
}

absl::StatusOr<Schedule> ScheduleRepository::Pause(std::int64_t id, absl::string_view note,
                                                   absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry,
      [&](Session& session) -> absl::StatusOr<Schedule> {
        PARLEY_RETURN_IF_ERROR(
            session.Execute(sql::task_schedule::PauseSchedule, {{"id", id}, {"note", note}})
                .status());
        return ReadSchedule(session, id);
      });
}

absl::StatusOr<Schedule> ScheduleRepository::Resume(std::int64_t id, absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry,
      [&](Session& session) -> absl::StatusOr<Schedule> {
        PARLEY_ASSIGN_OR_RETURN(const ScheduleRow row, LockSchedule(session, id));
        const Schedule& before = row.schedule;
        if (!before.paused_at) return before;
        const absl::Time now = std::max(row.now, before.considered_until);
        PARLEY_ASSIGN_OR_RETURN(const Standing standing, StandingAt(before.spec, now));
        std::vector<Bind> binds = {{"id", id}, {"missed", CountMissed(before, now)}};
        AppendBinds(standing, binds);
        PARLEY_RETURN_IF_ERROR(
            session.Execute(sql::task_schedule::ResumeSchedule, std::move(binds)).status());
        return ReadSchedule(session, id);
      });
}

absl::Status ScheduleRepository::Delete(std::int64_t id, absl::Time deadline) {
  return RunTransaction(pool_, deadline, OnLostCommit::kInDoubt,
                        [&](Session& session) -> absl::StatusOr<std::int64_t> {
                          PARLEY_ASSIGN_OR_RETURN(
                              const std::int64_t deleted,
                              session.Execute(sql::task_schedule::DeleteSchedule, {{"id", id}}));
                          if (deleted == 0) return ScheduleNotFound(id);
                          return deleted;
                        })
      .status();
}

absl::StatusOr<absl::Time> ScheduleRepository::Now(absl::Time deadline) {
  return RunOnce(pool_, deadline, [](Session& session) { return ReadClock(session); });
}

}  // namespace parley::db
